"""Draw docs/house.svg: the rooms of jaxgan on their floors, as the imports have them.

A room is a package. It stands on the floor that `tests/test_layout.py` gives it, and a line goes to
every room that it imports. A test compares the picture with the imports.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "house.svg"
_WIDTH, _BOX, _GAP, _FLOOR = 1000, (210, 46), 24, 92


def list_imported(path: Path) -> Iterator[str]:
    """Yield the rooms that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if names == ["jaxgan"]:
            names = [f"jaxgan.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (n.split(".")[1] for n in names if n.startswith("jaxgan."))


def read_house() -> dict[str, set[str]]:
    """Return what each room imports of the others."""
    return {
        room: {i for file in list_files(room) for i in list_imported(file)} - {room}
        for room in sorted(room for floor in read_floors() for room in floor)
    }


def list_files(room: str) -> list[Path]:
    """Return the files of a room, the one that says what it is for first."""
    folder = ROOT / "jaxgan" / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def read_floors() -> list[list[str]]:
    """Return the rooms floor by floor, from below, as the test of the layout holds them."""
    text = (ROOT / "tests" / "test_layout.py").read_text(encoding="utf-8")
    floors = text.partition('_FLOORS = """\n')[2].partition('\n"""')[0]
    return [line.split() for line in floors.splitlines()]


def describe(room: str) -> str:
    """Return what a room is for: its own first sentence."""
    text = list_files(room)[0].read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(text)) or "").split(".")[0]


def draw(house: dict[str, set[str]]) -> str:
    """Return the picture."""
    floors = read_floors()
    height, (width, tall) = _FLOOR * len(floors) + 20, _BOX
    at = {}
    for floor, rooms in enumerate(floors):
        left = (_WIDTH - len(rooms) * (width + _GAP) + _GAP) / 2
        for i, room in enumerate(rooms):
            at[room] = left + i * (width + _GAP), height - (floor + 1) * _FLOOR + 30
    lines = [
        f'<line x1="{at[room][0] + width / 2:.0f}" y1="{at[room][1] + tall:.0f}" '
        f'x2="{at[other][0] + width / 2:.0f}" y2="{at[other][1]:.0f}" stroke="#c9ced6"/>'
        for room in house
        for other in sorted(house[room])
    ]
    boxes = [
        f'<g transform="translate({x:.0f} {y:.0f})">'
        f'<rect width="{width}" height="{tall}" rx="5" fill="white" stroke="#5b6b82"/>'
        f'<text x="{width / 2:.0f}" y="19" font-size="15" font-weight="bold">{room}</text>'
        f'<text x="{width / 2:.0f}" y="36" font-size="10.5" fill="#555">'
        f"{escape(describe(room))}</text></g>"
        for room, (x, y) in at.items()
    ]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" text-anchor="middle">'
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>'
    )
    return "\n".join([head, *lines, *boxes, "</svg>"]) + "\n"


if __name__ == "__main__":
    PICTURE.write_text(draw(read_house()), encoding="utf-8")
