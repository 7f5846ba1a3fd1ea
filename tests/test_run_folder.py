"""The folder of a run: whose it is, and cutting it back to a checkpoint."""

import json
import os
import signal
import subprocess
import sys

import pytest

from jaxgan.errors import DiskError, UserError
from jaxgan.run_folder import RunFolder, drop_notes, open_run_folder, read_metrics, read_record

RECORD = {"kind": "dcgan", "settings": {"num_epochs": 3, "seed": 0, "data": {"seed": 1}}}


def change(**settings):
    return {**RECORD, "settings": {**RECORD["settings"], **settings}}


def test_another_runs_folder_is_refused_with_the_field_that_differs(tmp_path):
    RunFolder(tmp_path / "run", RECORD)
    with pytest.raises(UserError, match=r"settings.seed was 0 and is 5"):
        RunFolder(tmp_path / "run", change(seed=5))
    with pytest.raises(UserError, match=r"settings.data.seed was 1 and is None"):
        RunFolder(tmp_path / "run", change(data={}))
    assert read_record(tmp_path / "run") == RECORD


def test_a_run_of_another_version_is_told_from_one_of_other_settings(tmp_path):
    RunFolder(tmp_path / "run", RECORD)
    with pytest.raises(UserError, match=r"another version of jaxgan.*others \(data, later, seed\)"):
        RunFolder(tmp_path / "run", {"kind": "dcgan", "settings": {"num_epochs": 3, "later": 0}})


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
        "import os, pathlib, signal; from jaxgan.files import hold_folder\n"
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
    folder.rewind(0)
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
    assert json.loads(text) == RECORD
    assert text.count("\n") > 5
