"""What defines a run: which fields may change, and records of every earlier format."""

import dataclasses
import json

import pytest

from jaxgan.classifiers.gmd import GmdSettings
from jaxgan.classifiers.transfer import TransferSettings
from jaxgan.core.errors import UserError
from jaxgan.core.settings import to_dict
from jaxgan.data.settings import DataSettings
from jaxgan.experiments.train_classifier import TrainClassifierSettings
from jaxgan.gans.dcgan import DcganSettings
from jaxgan.networks.optimizers import OptimizerSettings
from jaxgan.networks.schedules import ScheduleSettings
from jaxgan.sampling.settings import SelectionSettings, TrainGanSettings
from jaxgan.training.record import (
    FORMAT,
    FREE_FIELDS,
    NOTES,
    check_same_fields,
    describe_differences,
    drop_notes,
    flatten,
    has_fixed_length,
    is_number,
    is_same_but_for_data,
    number_record,
    upgrade_record,
)
from tests.helpers import make_dcgan_settings, make_gmd_settings

RECORD = {"kind": "gan", "settings": {"num_epochs": 3, "seed": 0, "data": {"seed": 1}}}


def change(**settings):
    return {**RECORD, "settings": {**RECORD["settings"], **settings}}


def make_record(settings):
    kind = "gan" if isinstance(settings, TrainGanSettings) else "classifier"
    return {"kind": kind, "class": "left", "settings": to_dict(settings)}


def copy(record):
    return json.loads(json.dumps(record))


# What may differ ---------------------------------------------------------------------------------

# Every field that may be given anew to a run that goes on.
FREE = {
    "checkpoint_every_epochs",
    "checkpoint_every_seconds",
    "sample_every_epochs",
    "data.resident_bytes",
}


@pytest.mark.parametrize("settings", [make_dcgan_settings(), make_gmd_settings()])
def test_what_changes_no_result_may_change_and_nothing_else(settings):
    old = make_record(settings)
    flat = flatten(old["settings"])
    assert {"checkpoint_every_epochs", "data.resident_bytes"} <= flat.keys()
    assert {"gan.family", "classifier.family"} & flat.keys()
    for name, value in flat.items():
        new = copy(old)
        group = new["settings"]
        *path, field = name.split(".")
        for part in path:
            group = group[part]
        group[field] = value + 1 if isinstance(value, int | float) else ["other"]
        refused = describe_differences(old, new)
        if name in FREE or name == "num_epochs" or f"settings.{name}" in NOTES:
            assert refused == "", name
        else:
            assert f"settings.{name} was" in refused


def test_the_free_fields_are_those():
    assert set(FREE_FIELDS) == FREE


@pytest.mark.parametrize(
    ("selection", "is_free"),
    [
        ({"rule": "paper_text", "per_epoch": 1}, False),
        ({"rule": "none", "per_epoch": 2}, False),
        ({"rule": "none", "per_epoch": 0}, True),
        ({"rule": "top_k", "per_epoch": 1}, True),
        ({"rule": "paper_code", "per_epoch": 1}, True),
    ],
)
def test_a_cadence_of_looks_may_change_where_no_look_keeps_an_image(selection, is_free):
    old, new = (
        make_record(make_dcgan_settings(selection=selection, look_every_epochs=every))
        for every in (1, 5)
    )
    assert bool(describe_differences(old, new)) is not is_free


def test_epochs_may_grow_and_not_shrink():
    assert describe_differences(RECORD, change(num_epochs=4)) == ""
    assert "num_epochs was 3 and is 2" in describe_differences(RECORD, change(num_epochs=2))


def test_epochs_that_are_no_number_or_gone_have_their_sentence():
    gone = {**RECORD, "settings": {"seed": 0, "data": {"seed": 1}}}
    assert "num_epochs was 3 and is None" in describe_differences(RECORD, gone)
    assert "num_epochs was None and is 3" in describe_differences(gone, RECORD)
    assert "num_epochs was '3' and is 4" in describe_differences(
        change(num_epochs="3"), change(num_epochs=4)
    )
    assert [is_number(value) for value in (1, 0.5, True, "1", None, float("nan"))] == [
        *(True, True, False, False, False, False)
    ]


def test_of_many_fields_that_differ_the_first_are_named():
    many = {f"field{number}": number for number in range(7)}
    found = describe_differences(RECORD, change(**many))
    assert found.startswith("settings.field0 was None and is 0; settings.field1 was")
    assert found.endswith("settings.field4 was None and is 4; 2 more fields differ")


def test_the_paper_s_numbers_that_a_run_has_noted_may_be_gone_and_not_others():
    """Every variant noted them once, though they are of the paper's data alone."""
    noted, without = (change(selection={"targets": t}) for t in ({"a": 61, "b": 150}, {}))
    assert describe_differences(noted, without) == ""
    assert "targets.a was None and is 61" in describe_differences(without, noted)


def test_a_name_of_data_and_what_was_skipped_are_notes():
    record, moved, other = (
        {**RECORD, "data": {"name": name, "skipped": skipped, "fingerprint": fingerprint}}
        for name, skipped, fingerprint in (("a", [], "f"), ("b", ["x"], "f"), ("a", [], "g"))
    )
    assert describe_differences(record, moved) == ""
    assert drop_notes(record) == drop_notes(moved) != drop_notes(other)
    assert is_same_but_for_data(record, other) and not is_same_but_for_data(moved, other)
    assert "fingerprint was 'f' and is 'g'; data.name was" in describe_differences(moved, other)
    assert not is_same_but_for_data(record, {**other, "settings": {"seed": 1}})


def test_fields_of_another_version_are_told_from_other_settings_and_from_another_family(tmp_path):
    old = change(gan={"family": "dcgan", "width": 3})
    check_same_fields(tmp_path, old, change(gan={"family": "dcgan", "width": 4}))
    check_same_fields(tmp_path, old, change(gan={"family": "mlp", "pieces": 5}))
    with pytest.raises(UserError, match=r"another version of jaxgan.*\(gan.pieces, gan.width\)"):
        check_same_fields(tmp_path, old, change(gan={"family": "dcgan", "pieces": 5}))
    gmd = change(classifier={"family": "gmd", "width": 3})
    check_same_fields(tmp_path, gmd, change(classifier={"family": "vgg", "depth": 5}))
    with pytest.raises(UserError, match=r"\(classifier.width\)"):
        check_same_fields(tmp_path, gmd, change(classifier={"family": "gmd"}))


def test_of_a_group_of_another_family_the_family_alone_is_named():
    old, new = (
        change(
            gan={"family": family, "rate": 0.1, name: 4}, classifier={"family": "gmd", "width": w}
        )
        for family, name, w in (("dcgan", "generator_width", 4), ("mlp", "pieces", 5))
    )
    assert describe_differences(old, new) == (
        "settings.classifier.width was 4 and is 5; settings.gan.family was 'dcgan' and is 'mlp'"
    )


# Formats -----------------------------------------------------------------------------------------

LATER = ("fit", "value_range", "window")  # fields of the data that came with format 1


LATER_OF_CLASSIFIERS = {  # that came with format 3, and so did the groups `schedule`
    *("classic_augmentation", "class_weights", "balanced_batches"),
    *("stopping_share", "stopping_patience", "transfer"),
}


LATER_OF_GANS = ("r2_weight", "lecam_weight")  # that came with format 4


def make_format_4(settings):
    """The record of the same run as it was written before latents could be truncated."""
    record = copy(make_record(settings))
    record["settings"].get("selection", {}).pop("truncation", None)
    return record


def make_format_3(settings):
    """The record of the same run as it was written before G's and D's losses had these fields."""
    record = make_format_4(settings)
    for name in LATER_OF_GANS:
        record["settings"].get("gan", {}).pop(name, None)
    return record


def make_format_2(settings):
    """The record of the same run as it was written before rates could change."""
    record = make_format_3(settings)
    for group in ("gan", "optimizer"):
        record["settings"].get(group, {}).pop("schedule", None)
    for name in LATER_OF_CLASSIFIERS:
        record["settings"].pop(name, None)
    return record


def make_format_1(settings):
    """The record of the same run as it was written when all fields were at the top."""
    record = make_format_2(settings)
    flat = record["settings"]
    if "gan" in flat:
        gan = flat.pop("gan")
        assert gan.pop("family") == "dcgan"
        return {**record, "kind": "dcgan", "settings": {**flat, **gan}}
    classifier, optimizer = flat.pop("classifier"), flat.pop("optimizer")
    assert classifier.pop("family") == "gmd"
    name = {"optimizer": optimizer.pop("name")}
    return {**record, "kind": "gmd", "settings": {**flat, **classifier, **optimizer, **name}}


@pytest.mark.parametrize(
    "settings",
    [
        make_dcgan_settings(),
        make_dcgan_settings(num_classes=3, generator_width=6, selection={"targets": {"a": 5}}),
        make_gmd_settings(),
        make_gmd_settings(optimizer="adam", width=16, padding="SAME"),
    ],
)
def test_a_record_of_format_1_becomes_what_the_same_run_writes_today(settings):
    old = make_format_1(settings)
    before = copy(old)
    for numbered in (old, {"format": 1, **old}, {"format": 1, "notes": {"a": 1}, **old}):
        assert upgrade_record(numbered, "it") == make_record(settings)
    assert old == before
    for names in (("checkpoint_every_seconds", "num_classes"), ()):
        for name in names:
            old["settings"].pop(name, None)
        if not settings.data.window:
            old["settings"]["data"] = {
                name: value for name, value in old["settings"]["data"].items() if name not in LATER
            }
    filled = copy(make_record(settings))
    if "gan" in filled["settings"]:
        filled["settings"]["gan"]["num_classes"] = 0
    assert upgrade_record(old, "it") == filled
    unknown = {**old, "settings": {**old["settings"], "nonsense": 1}}
    assert upgrade_record(unknown, "it")["settings"]["nonsense"] == 1


@pytest.mark.parametrize("settings", [make_dcgan_settings(), make_gmd_settings()])
def test_a_record_of_format_2_becomes_what_the_same_run_writes_today(settings):
    old, today = make_format_2(settings), copy(make_record(settings))
    assert old != today
    assert upgrade_record({"format": 2, **old}, "it") == today
    unlike = {**old, "settings": {**old["settings"], "class_weights": "balanced"}}
    assert upgrade_record({"format": 2, **unlike}, "it") == {
        **today,
        "settings": {**today["settings"], "class_weights": "balanced"},
    }


@pytest.mark.parametrize("settings", [make_dcgan_settings(), make_gmd_settings()])
def test_a_record_of_format_3_becomes_what_the_same_run_writes_today(settings):
    old, today = make_format_3(settings), copy(make_record(settings))
    assert (old == today) is ("gan" not in today["settings"])
    assert upgrade_record({"format": 3, **old}, "it") == today
    if "gan" in today["settings"]:
        kept = {**today["settings"], "gan": {**today["settings"]["gan"], "r2_weight": 2.0}}
        assert upgrade_record({"format": 3, **old, "settings": kept}, "it")["settings"] == kept
        # A family without these losses has no such fields.
        other = {**old, "settings": {"gan": {"family": "toy", "image_size": 8}}}
        assert upgrade_record({"format": 3, **other}, "it") == other


@pytest.mark.parametrize("settings", [make_dcgan_settings(), make_gmd_settings()])
def test_a_record_of_format_4_becomes_what_the_same_run_writes_today(settings):
    old, today = make_format_4(settings), copy(make_record(settings))
    assert (old == today) is ("gan" not in today["settings"])
    assert upgrade_record({"format": 4, **old}, "it") == today
    for odd in (None, 3, {}, {"selection": 3}):  # edited by hand: whoever reads it has a sentence
        assert upgrade_record({"format": 4, **old, "settings": odd}, "it")["settings"] == odd
    if "gan" in today["settings"]:
        cut = copy(make_record(make_dcgan_settings(selection={"truncation": 0.5})))
        assert upgrade_record({"format": 4, **cut}, "it") == cut
        assert "selection.truncation was 1.0 and is 0.5" in describe_differences(today, cut)


def test_a_rate_that_follows_the_length_of_the_run_lets_it_not_grow():
    """Its first half would have had other rates."""
    for schedule, may_grow in [
        *(({"name": name}, True) for name in ("constant", "step", "plateau")),
        *(({"name": name}, False) for name in ("time", "exponential", "cosine")),
        ({"name": "time", "decay": 0.1}, True),
        ({"name": "exponential", "decay": 0.1}, True),
        ({"name": "cosine", "decay": 0.1}, False),
    ]:
        old, new = (
            copy(make_record(make_gmd_settings(num_epochs=num, schedule=schedule)))
            for num in (2, 3)
        )
        sentence = "" if may_grow else "settings.num_epochs was 2 and is 3"
        assert describe_differences(old, new) == sentence, schedule
        assert has_fixed_length(new) != may_grow


def test_weights_are_told_apart_by_their_content():
    """Not by where they lie, nor by what the file is called."""
    record = {**make_record(make_gmd_settings()), "weights": {"file": "a.pth", "sha256": "1"}}
    moved, other = copy(record), copy(record)
    moved["weights"]["file"], moved["settings"]["transfer"]["weights"] = "b.pth", "/other/b.pth"
    other["weights"]["sha256"] = "2"
    assert describe_differences(record, moved) == ""
    assert describe_differences(record, other) == "weights.sha256 was '1' and is '2'"
    none = {name: value for name, value in record.items() if name != "weights"}
    assert "weights.sha256 was None and is '1'" in describe_differences(none, record)
    assert drop_notes(record) == drop_notes(moved) != drop_notes(other)


@pytest.mark.parametrize(("kind", "today"), [("dcgan", "gan"), ("gmd", "classifier")])
@pytest.mark.parametrize("settings", [None, 3, [1]])
def test_a_record_of_format_1_without_settings_has_today_s_kind_alone(kind, today, settings):
    record = {"kind": kind, "data": {}} | ({} if settings is None else {"settings": settings})
    assert upgrade_record(record, "it") == record | {"kind": today}


@pytest.mark.parametrize("kind", ["study", "toy"])
def test_a_record_of_another_kind_stays_as_it_is(kind):
    """The jobs of a study have records of their own, and are found again by these."""
    record = {"kind": kind, "settings": {"num_folds": 5, "dcgan": {"generator_width": 4}}}
    assert upgrade_record({"format": 1, **record}, "it") == record


def test_a_record_of_today_is_not_touched():
    record = make_record(make_dcgan_settings())
    assert number_record(record) == {"format": FORMAT, **record}
    assert upgrade_record({**number_record(record), "notes": {"command": "x"}}, "it") == record
    flat = {"kind": "dcgan", "settings": {"generator_width": 4}}
    assert upgrade_record(number_record(flat), "it") == flat  # only what is of format 1


@pytest.mark.parametrize("number", ["a", None, True, 0, -1, 1.5])
def test_a_format_that_is_no_number_has_its_sentence(number):
    with pytest.raises(UserError, match=f"^it has the format {number!r}, expected a number from 1"):
        upgrade_record({"format": number, **RECORD}, "it")


def test_a_format_of_a_newer_version_is_refused_by_name():
    for number in (FORMAT + 1, 99):
        with pytest.raises(UserError, match=rf"newer version of jaxgan \(format {number}; this"):
            upgrade_record({"format": number, **RECORD}, "it")


def test_a_new_field_needs_a_new_format():
    """A record of before lacks it: raise FORMAT, and have `upgrade_record` fill it in.

    With what runs without the field behave by.
    """
    classes = (
        *(TrainGanSettings, SelectionSettings, DcganSettings, DataSettings),
        *(TrainClassifierSettings, GmdSettings, OptimizerSettings, ScheduleSettings),
        TransferSettings,
    )
    assert (FORMAT, {cls.__name__: len(dataclasses.fields(cls)) for cls in classes}) == (
        5,
        {
            "TrainGanSettings": 14,
            "SelectionSettings": 8,
            "DcganSettings": 26,
            "DataSettings": 8,
            "TrainClassifierSettings": 18,
            "GmdSettings": 7,
            "OptimizerSettings": 4,
            "ScheduleSettings": 7,
            "TransferSettings": 3,
        },
    )
