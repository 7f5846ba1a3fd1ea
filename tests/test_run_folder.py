"""The folder of a run: whose it is, and cutting it back to a checkpoint."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from jaxgan.core.errors import DiskError, UserError
from jaxgan.core.settings import to_dict
from jaxgan.training.checkpoint import Checkpoints
from jaxgan.training.record import FORMAT, drop_notes
from jaxgan.training.run_folder import (
    RunFolder,
    open_run_folder,
    read_data,
    read_metrics,
    read_record,
)
from tests.helpers import make_dcgan_settings, make_gmd_settings
from tests.test_record import make_format_1

RECORD = {"kind": "gan", "settings": {"num_epochs": 3, "seed": 0, "data": {"seed": 1}}}


def change(**settings):
    return {**RECORD, "settings": {**RECORD["settings"], **settings}}


def test_another_runs_folder_is_refused_with_the_field_that_differs(tmp_path):
    RunFolder(tmp_path / "run", RECORD)
    with pytest.raises(UserError, match=r"settings.seed was 0 and is 5"):
        RunFolder(tmp_path / "run", change(seed=5))
    with pytest.raises(UserError, match=r"settings.data.seed was 1 and is 2"):
        RunFolder(tmp_path / "run", change(data={"seed": 2}))
    assert read_record(tmp_path / "run") == RECORD


def test_a_run_of_another_version_is_told_from_one_of_other_settings(tmp_path):
    RunFolder(tmp_path / "run", RECORD)
    with pytest.raises(
        UserError, match=r"another version of jaxgan.*different settings \(data.seed, later, seed\)"
    ):
        RunFolder(tmp_path / "run", {"kind": "gan", "settings": {"num_epochs": 3, "later": 0}})


def test_more_epochs_are_the_same_run_and_fewer_are_not(tmp_path):
    RunFolder(tmp_path / "run", RECORD)
    RunFolder(tmp_path / "run", change(num_epochs=5))
    assert read_record(tmp_path / "run")["settings"]["num_epochs"] == 5
    with pytest.raises(UserError, match="num_epochs was 5 and is 3"):
        RunFolder(tmp_path / "run", RECORD)


def test_a_folder_with_other_things_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with (
        pytest.raises(UserError, match="is not empty and holds no run"),
        open_run_folder(tmp_path, RECORD),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_made_has_its_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DiskError, match="can not be written: Not a directory"),
        open_run_folder(tmp_path / "file" / "run", RECORD),
    ):
        pass


def test_two_runs_in_one_folder_are_refused_while_the_first_lives(tmp_path):
    with open_run_folder(tmp_path, RECORD):
        with (
            pytest.raises(UserError, match=f"in use by another run .process {os.getpid()} on "),
            open_run_folder(tmp_path, RECORD),
        ):
            pass
        assert (tmp_path / "config.json").exists()
    with open_run_folder(tmp_path, RECORD):
        pass


def test_the_lock_of_a_dead_process_is_none(tmp_path):
    program = (
        "import os, pathlib, signal; from jaxgan.core.files import hold_folder\n"
        f"with hold_folder(pathlib.Path({str(tmp_path)!r})): os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert (tmp_path / ".lock").read_text().startswith("process ")
    with open_run_folder(tmp_path, RECORD):
        pass


def test_what_a_killed_process_left_beside_is_swept_up(tmp_path):
    with open_run_folder(tmp_path, RECORD) as folder:
        left = folder.get_folder("figures") / ".losses.png.123.beside"
        left.write_bytes(b"half")
    with open_run_folder(tmp_path, RECORD):
        assert not left.exists()


def test_images_that_have_changed_are_named_as_such(tmp_path):
    record = {**RECORD, "data": {"name": "scans", "fingerprint": "a1"}}
    RunFolder(tmp_path, record)
    with pytest.raises(UserError, match="The images have changed since the run") as caught:
        RunFolder(tmp_path, {**record, "data": {"name": "scans", "fingerprint": "b2"}})
    assert "data.fingerprint was 'a1' and is 'b2'" in str(caught.value)
    with pytest.raises(UserError, match="holds another run"):
        RunFolder(tmp_path, {**record, "data": {"name": "other", "fingerprint": "b2"}})


@pytest.mark.parametrize("note", [{"name": "job_4712"}, {"skipped": ["a.png is not a PNG"]}])
def test_the_same_images_under_another_name_go_on(tmp_path, note):
    record = {**RECORD, "data": {"name": "job_4711", "fingerprint": "a1"}}
    moved = {**record, "data": {**record["data"], **note}}
    RunFolder(tmp_path, record)
    RunFolder(tmp_path, moved)
    assert read_record(tmp_path) == moved
    with pytest.raises(UserError, match=r"data\.name was '.*' and is 'third'"):
        RunFolder(tmp_path, {**record, "data": {"name": "third", "fingerprint": "b2"}})
    assert drop_notes(record) == drop_notes(moved)  # what several processes compare
    assert drop_notes(record) != drop_notes(change(seed=5)) != {}


def test_a_cadence_that_changes_no_result_may_change(tmp_path):
    RunFolder(tmp_path, change(checkpoint_every_seconds=60.0))
    RunFolder(tmp_path, change(checkpoint_every_seconds=5.0))
    RunFolder(tmp_path, RECORD)


def test_a_run_that_has_noted_the_paper_s_numbers_goes_on_without_them(tmp_path):
    """Every variant noted them once, though they are of the paper's data alone."""
    RunFolder(tmp_path, change(selection={"targets": {"a": 61, "b": 150}}))
    RunFolder(tmp_path, change(selection={"targets": {}}))
    assert read_record(tmp_path)["settings"]["selection"] == {"targets": {}}
    with pytest.raises(UserError, match=r"selection.targets.a was None and is 61"):
        RunFolder(tmp_path, change(selection={"targets": {"a": 61}}))


def test_lines_behind_the_checkpoint_are_dropped_and_a_torn_one_too(tmp_path):
    folder = RunFolder(tmp_path, RECORD)
    folder.rewind(0)
    for step in (2, 4, 6):
        folder.append({"step": step, "epoch": step // 2, "loss": step / 10}, {})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "ep')
    assert [line["step"] for line in folder.rewind(4)] == [2, 4]
    assert [line["step"] for line in read_metrics(tmp_path)] == [2, 4]
    folder.append({"step": 6, "epoch": 3, "loss": 0.6}, {})
    folder.close()
    assert read_metrics(tmp_path)[-1] == {"step": 6, "epoch": 3, "loss": 0.6}


def test_finished_is_of_so_many_epochs_and_rewinding_undoes_it(tmp_path):
    folder = RunFolder(tmp_path, RECORD)
    assert not folder.is_finished(3)
    folder.finish(3)
    assert folder.is_finished(3)
    assert not folder.is_finished(4)
    folder.rewind(2)
    folder.close()
    assert not folder.is_finished(3)


def test_tensorboard_gets_speed_and_metrics_the_lines_only_results(tmp_path):
    folder = RunFolder(tmp_path, RECORD)
    folder.rewind(0)
    folder.append({"step": 2, "epoch": 1, "loss": 0.5}, {"images_per_second": 9.0})
    folder.close()
    assert read_metrics(tmp_path) == [{"step": 2, "epoch": 1, "loss": 0.5}]
    events = b"".join(path.read_bytes() for path in (tmp_path / "events").iterdir())
    assert b"images_per_second" in events
    assert b"loss" in events


@pytest.mark.parametrize("content", [None, "not json"])
def test_a_folder_that_is_no_run_has_its_sentence(tmp_path, content):
    if content:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config.json"):
        read_record(tmp_path)


def test_the_record_is_json_a_person_can_read(tmp_path):
    RunFolder(tmp_path, RECORD)
    text = (tmp_path / "config.json").read_text()
    assert json.loads(text) == {"format": FORMAT, **RECORD}
    assert text.count("\n") > 5


# Records of other versions ----------------------------------------------------------------------


def test_a_record_of_a_newer_format_is_refused_by_name(tmp_path):
    RunFolder(tmp_path, RECORD)
    file = tmp_path / "config.json"
    newer = rf"newer version of jaxgan \(format {FORMAT + 1}"
    for number, sentence in ((FORMAT + 1, newer), ("a", "format 'a'")):
        file.write_text(json.dumps({"format": number, **RECORD}))
        with pytest.raises(UserError, match=sentence):
            read_record(tmp_path)
        with pytest.raises(UserError, match=sentence), open_run_folder(tmp_path, RECORD):
            pass
        assert json.loads(file.read_text())["format"] == number


def test_a_record_is_upgraded_wherever_it_is_read(tmp_path, monkeypatch):
    """As a later version would, whose records have another shape."""
    with Checkpoints(tmp_path / "checkpoints", record=RECORD) as checkpoints:
        checkpoints.save(1, {"w": np.zeros(2)}, {})
    RunFolder(tmp_path, RECORD)
    new = {"kind": "gan", "all_settings": RECORD["settings"]}

    def upgrade(record, shown):
        rest = {k: v for k, v in record.items() if k not in ("format", "settings")}
        return {**rest, "all_settings": record["settings"]} if "settings" in record else rest

    for module in ("run_folder", "checkpoint"):
        monkeypatch.setattr(f"jaxgan.training.{module}.upgrade_record", upgrade)
    RunFolder(tmp_path, new)
    assert read_record(tmp_path) == new
    with Checkpoints(tmp_path / "checkpoints", record=new) as checkpoints:
        assert checkpoints.restore(1, {"w": np.zeros(2)})["w"].shape == (2,)


@pytest.mark.parametrize(
    ("settings", "kind"), [(make_dcgan_settings(), "gan"), (make_gmd_settings(), "classifier")]
)
def test_a_run_of_format_1_goes_on_and_is_written_in_today_s(tmp_path, settings, kind):
    record = {"kind": kind, "settings": to_dict(settings)}
    old = make_format_1(settings)
    del old["settings"]["checkpoint_every_seconds"]
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert read_record(tmp_path)["settings"] == record["settings"]
    with pytest.raises(UserError, match=r"settings.seed was 0 and is 7"):
        RunFolder(tmp_path, {**record, "settings": {**record["settings"], "seed": 7}})
    RunFolder(tmp_path, {**record, "class": "left"})
    assert json.loads((tmp_path / "config.json").read_text()) == {
        **{"format": FORMAT, **record},
        "class": "left",
    }


def test_a_run_of_another_family_is_told_by_its_name(tmp_path):
    gan = {"family": "dcgan", "generator_width": 4}
    RunFolder(tmp_path, change(gan=gan))
    with pytest.raises(UserError, match=r"another run: settings.gan.family was 'dcgan' and is 'm"):
        RunFolder(tmp_path, change(gan={"family": "mlp", "discriminator_pieces": 5}))


def test_the_notes_of_a_run_decide_nothing_and_stay(tmp_path):
    notes = {"command": "python launch/train_dcgan.py --class=a", "data": "/scans"}
    RunFolder(tmp_path, RECORD, notes)
    RunFolder(tmp_path, RECORD)  # as `jaxgan.experiments.keep` opens it
    assert json.loads((tmp_path / "config.json").read_text())["notes"] == notes
    RunFolder(tmp_path, RECORD, {"command": "another"})
    assert json.loads((tmp_path / "config.json").read_text())["notes"] == {"command": "another"}
    assert read_record(tmp_path) == RECORD


# What a person may delete or edit ---------------------------------------------------------------

EDITED = [
    "",
    "{",
    "[1, 2]",
    "3",
    "null",
    "{}",
    '{"settings": {}}',
    '{"kind": 3}',
    '{"kind": "gan", "settings": [1]}',
    '{"kind": "gan", "settings": {}, "data": "films"}',
    "[" * 100_000,
    "\udcff",
]


@pytest.mark.parametrize("content", EDITED)
def test_a_config_that_was_edited_has_its_sentence_or_is_taken_from_a_checkpoint(
    tmp_path, content, capsys
):
    RunFolder(tmp_path, RECORD)
    file = tmp_path / "config.json"
    file.write_bytes(content.encode(errors="surrogateescape"))
    for read in (read_record, lambda path: RunFolder(path, RECORD)):
        with pytest.raises(UserError, match=r"config.json is not valid JSON of jaxgan"):
            read(tmp_path)
    with Checkpoints(tmp_path / "checkpoints", record=RECORD) as checkpoints:
        checkpoints.save(1, {"w": np.zeros(2)}, {})
    assert read_record(tmp_path) == RECORD
    assert "The copy in the newest checkpoint takes its place" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"settings.seed was 0 and is 5"):
        RunFolder(tmp_path, change(seed=5))
    RunFolder(tmp_path, RECORD)
    assert json.loads(file.read_text()) == {"format": FORMAT, **RECORD}


def test_a_config_that_was_deleted_is_taken_from_a_checkpoint(tmp_path, capsys):
    with Checkpoints(tmp_path / "checkpoints", record=RECORD) as checkpoints:
        checkpoints.save(1, {"w": np.zeros(2)}, {})
    with (
        pytest.raises(UserError, match="seed was 0 and is 5"),
        open_run_folder(tmp_path, change(seed=5)),
    ):
        pass
    with open_run_folder(tmp_path, RECORD):
        assert "it is missing. The copy" in capsys.readouterr().out


@pytest.mark.parametrize("data", [None, {}, {"name": "a"}])
def test_a_record_without_data_has_its_sentence(tmp_path, data):
    RunFolder(tmp_path, RECORD | ({} if data is None else {"data": data}))
    with pytest.raises(UserError, match="does not say which data"):
        read_data(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "7",
        '{"epoch": 2}',
        '{"step": "4", "epoch": 2}',
        '{"step": 4, "epoch": 2, "loss": "low"}',
        '{"step": 4, "epoch": 2, "loss": NaN}',
        '{"step": 4, "epoch": 2, "loss": null}',
        "\x00",
    ],
)
def test_lines_of_metrics_that_were_edited_are_left_out_and_said(tmp_path, text, capsys):
    folder = RunFolder(tmp_path, RECORD)
    folder.append({"step": 2, "epoch": 1, "loss": 0.5}, {})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(text + "\n\n")
    folder.append({"step": 6, "epoch": 3, "loss": 0.6}, {})
    assert [line["step"] for line in read_metrics(tmp_path)] == [2, 6]
    assert "metrics.jsonl: 1 of 3 lines (2) are damaged" in capsys.readouterr().out


def test_lines_and_checkpoints_that_were_removed_are_said(tmp_path, capsys):
    folder = RunFolder(tmp_path, RECORD)
    for step in (2, 4):
        folder.append({"step": step, "epoch": step // 2}, {})
    folder.rewind(4)
    assert capsys.readouterr().out == ""
    folder.rewind(6)
    assert "has lost lines before the checkpoint of step 6" in capsys.readouterr().out
    folder.rewind(0)
    assert "holds no checkpoint" in capsys.readouterr().out
    folder.close()
    assert read_metrics(tmp_path) == []


def test_a_finished_run_without_checkpoints_is_not_begun_anew_by_itself(tmp_path):
    folder = RunFolder(tmp_path, RECORD)
    folder.append({"step": 2, "epoch": 1}, {})
    folder.finish(3)
    with pytest.raises(UserError, match=r"is finished and holds no checkpoint.*finished.json"):
        folder.rewind(0)
    assert len(read_metrics(tmp_path)) == 1
    assert folder.is_finished(3)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "{}", '{"num_epochs": "3"}', '{"num_epochs": 99}']
)
def test_a_mark_of_the_end_that_was_edited_is_none(tmp_path, content):
    folder = RunFolder(tmp_path, RECORD)
    folder.finish(3)
    (tmp_path / "finished.json").write_text(content)
    assert not folder.is_finished(3)


def test_a_finished_run_whose_figure_or_report_is_gone_is_finished_again(tmp_path, capsys):
    folder = RunFolder(tmp_path, RECORD)
    for name in ("figures/a.png", "report.json"):
        (folder.get_folder("figures") / "a.png").write_bytes(b"")
        (tmp_path / "report.json").write_text("{}")
        folder.finish(3)
        assert folder.is_finished(3)
        (tmp_path / name).unlink()
        assert not folder.is_finished(3)
        assert f"{name} is gone: the end of the run is done again" in capsys.readouterr().out
    (tmp_path / "finished.json").write_text('{"num_epochs": 3}')  # as before it named files
    assert folder.is_finished(3)
