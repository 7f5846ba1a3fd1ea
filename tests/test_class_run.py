from jaxgan.experiments.class_run import EmptyLooks


def test_long_stretches_without_a_kept_image_are_told(capsys):
    looks = EmptyLooks(0.76)
    for epoch in range(1, 11):
        looks.note(epoch, 0.0, 0.003)
    out = capsys.readouterr().out
    assert "Epoch 10: the last 10 checks" in out
    assert "the discriminator is winning" in out
    looks.note(11, 0.1, 0.3)
    for epoch in range(12, 21):
        looks.note(epoch, 0.0, 0.003)
    assert capsys.readouterr().out == ""
