"""The page of a reader study: a person says of each image whether it is real or generated.

It is one file without any network. Its policy (CSP) allows its own script and style, by their
hashes, and images inside the page. Nothing else runs or is loaded, whatever a class is called.
"""

import base64
import hashlib
import json
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from jaxgan.core.untrusted import printable
from jaxgan.data.images import encode_png

KIND, FORMAT = "jaxgan reader study", 1
_SIDE = 512  # pixels on the screen, at most
_TEMPLATE = "reader_study"


def format_reader_page(
    images: np.ndarray, is_generated: np.ndarray, *, class_name: str, seed: int
) -> str:
    """Return the page of images uint8 [num, height, width, 1 or 3] in the order of the test.

    `is_generated` [num] is in the page too, mixed with random bits of `seed`: nobody reads it by
    accident. It is no secret for a person who wants to cheat.
    """
    pictures = [_embed(image) for image in images]
    key = encode_key(is_generated, seed=seed)
    study = {
        "kind": KIND,
        "format": FORMAT,
        "id": hashlib.sha256("\n".join([*pictures, key]).encode()).hexdigest()[:16],
        "class": printable(class_name),
        "key": key,
        "images": pictures,
    }
    zoom = max(1, _SIDE // max(images.shape[1:3]))
    return _render(
        study, num_images=len(images), width=zoom * images.shape[2], height=zoom * images.shape[1]
    )


def encode_key(is_generated: np.ndarray, *, seed: int) -> str:
    """Return two random bytes an image, as base64; their lowest bits differ for a generated one."""
    pairs = np.random.default_rng(seed).integers(0, 256, (len(is_generated), 2), dtype=np.uint8)
    pairs[:, 1] = (pairs[:, 1] & 0xFE) | ((pairs[:, 0] & 1) ^ is_generated)
    return base64.b64encode(pairs.tobytes()).decode()


def _embed(image: np.ndarray) -> str:
    """Return a PNG without any mark: real and generated images are written the same way."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return "data:image/png;base64," + base64.b64encode(encode_png(picture)).decode()


def _render(study: dict[str, Any], **words: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxgan.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    style, script = (_read(environment, f"{_TEMPLATE}.{kind}") for kind in ("css", "js"))
    return environment.get_template(f"{_TEMPLATE}.html.j2").render(
        policy=_create_policy(style, script),
        style=style,
        script=script,
        data=json.dumps(study).replace("<", "\\u003c"),
        class_name=study["class"],
        **words,
    )


def _read(environment: jinja2.Environment, name: str) -> str:
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _create_policy(style: str, script: str) -> str:
    hashes = [
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for text in (style, script)
    ]
    return (
        f"default-src 'none'; img-src data:; style-src {hashes[0]}; script-src {hashes[1]}; "
        "base-uri 'none'; form-action 'none'"
    )
