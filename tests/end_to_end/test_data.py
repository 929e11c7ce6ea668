"""Images, videos and sounds are read as what they are, or refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile
from sklearn.datasets import load_sample_image

from explainaway.data import MissingDataError, load_images, load_sound, load_video


@pytest.fixture
def photograph() -> np.ndarray:
    """Return a picture of 40x64 pixels."""
    return load_sample_image("china.jpg")[100:140, 100:164]


def test_a_picture_is_the_same_from_a_file_an_array_and_a_folder(
    tmp_path: Path, photograph: np.ndarray
) -> None:
    (tmp_path / "folder").mkdir()
    Image.fromarray(photograph).save(tmp_path / "folder" / "a.png")
    (tmp_path / "folder" / "notes.txt").write_text("no picture")
    np.save(tmp_path / "last.npy", photograph[None])
    np.savez(tmp_path / "named.npz", images=photograph[None], labels=np.zeros(1))
    np.save(tmp_path / "first.npy", photograph[None].transpose(0, 3, 1, 2))
    np.save(tmp_path / "floats.npy", photograph[None].astype(np.float32) / 127.5 - 1)
    whole = load_images(tmp_path / "folder" / "a.png")
    assert whole.shape == (1, 3, 40, 64)
    assert torch.equal(whole[0].permute(1, 2, 0), torch.tensor(photograph) / 127.5 - 1)
    for source in ("folder", "last.npy", "named.npz", "first.npy", "floats.npy"):
        assert torch.equal(load_images(tmp_path / source), whole), source
    assert torch.equal(load_images(tmp_path, file="named.npz"), whole)


def test_side_is_the_mean_over_blocks_of_the_centred_square(
    tmp_path: Path, photograph: np.ndarray
) -> None:
    Image.fromarray(photograph).save(tmp_path / "a.png")
    square = photograph[:, 12:52].astype(np.float64) / 127.5 - 1
    expected = square.reshape(10, 4, 10, 4, 3).mean((1, 3)).transpose(2, 0, 1)
    np.testing.assert_allclose(load_images(tmp_path / "a.png", 10)[0], expected, atol=1e-6)
    assert load_images(tmp_path / "a.png", 7).shape == (1, 3, 7, 7)
    with pytest.raises(ValueError, match="side must be at most 40"):
        load_images(tmp_path / "a.png", 41)


def test_pictures_come_by_name_and_grey_ones_become_coloured_among_coloured(
    tmp_path: Path, photograph: np.ndarray
) -> None:
    grey = photograph[..., 0]
    Image.fromarray(grey).save(tmp_path / "b.png")
    assert load_images(tmp_path).shape == (1, 1, 40, 64)
    Image.fromarray(photograph).save(tmp_path / "a.PNG")
    images = load_images(tmp_path)
    assert images.shape == (2, 3, 40, 64)
    assert torch.equal(images[1, 2], torch.tensor(grey) / 127.5 - 1)
    assert load_images(tmp_path, count=1).shape == (1, 3, 40, 64)
    Image.fromarray(photograph[:20]).save(tmp_path / "c.png")
    with pytest.raises(ValueError, match=r"side must be given where sizes differ.*c\.png"):
        load_images(tmp_path)
    assert load_images(tmp_path, 20).shape == (3, 3, 20, 20)


def test_pixels_of_an_unknown_scale_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for wrong, message in (
        (np.full((2, 8, 8), 200.0), r"floats, which must lie in \[-1, 1\], got 200 to 200"),
        (np.zeros((2, 8, 8), np.int64), "int64"),
        (np.zeros((2, 8, 8, 4), np.uint8), r"got \(2, 8, 8, 4\)"),
        (np.zeros((8, 8), np.uint8), r"got \(8, 8\)"),
    ):
        np.save(path, wrong)
        with pytest.raises(ValueError, match=message):
            load_images(path)
    np.save(path, np.array([[[0, 65535]]], np.uint16))
    assert load_images(path).flatten().tolist() == [-1, 1]
    np.save(path, np.array([[[np.nan, 1.0]]]))
    assert load_images(path).isnan().flatten().tolist() == [True, False]
    deep = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 300, np.uint16)).save(deep)
    with pytest.raises(ValueError, match="no known range"):
        load_images(deep)
    np.savez(tmp_path / "two.npz", a=np.zeros(1), b=np.zeros(1))
    with pytest.raises(ValueError, match=r"'images' or only one, has \['a', 'b'\]"):
        load_images(tmp_path / "two.npz")


def test_what_is_not_there_says_what_to_put_there(tmp_path: Path) -> None:
    for load in (load_images, load_video):
        with pytest.raises(MissingDataError, match="is not there: expected a folder of"):
            load(tmp_path / "none")
    with pytest.raises(MissingDataError, match="holds no pictures"):
        load_images(tmp_path)
    with pytest.raises(MissingDataError, match="expected a WAV file"):
        load_sound(tmp_path / "none.wav", 8000)
    with pytest.raises(MissingDataError, match=r"a folder with a/b\.npz, or"):
        load_images(tmp_path, file="a/b.npz")
    with pytest.raises(MissingDataError, match=r"is a folder: expected a folder with c\.wav"):
        load_sound(tmp_path, 8000, file="c.wav")
    text = tmp_path / "x.txt"
    text.write_text("no picture")
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        load_images(text)
    with pytest.raises(ValueError, match="must be a WAV file"):
        load_sound(text, 8000)
    with pytest.raises(ValueError, match="count must be"):
        load_images(tmp_path, count=0)


def test_the_frames_of_a_moving_picture_come_in_their_order(tmp_path: Path) -> None:
    levels = [0, 85, 170, 255]
    frames = [Image.fromarray(np.full((6, 6), level, np.uint8)) for level in levels]
    frames[0].save(tmp_path / "film.png", save_all=True, append_images=frames[1:])
    np.savez(tmp_path / "film.npz", frames=np.stack([np.asarray(frame) for frame in frames]))
    for source in ("film.png", "film.npz"):
        film = load_video(tmp_path / source)
        assert film.shape == (4, 1, 6, 6)
        np.testing.assert_allclose(film[:, 0, 0, 0], np.array(levels) / 127.5 - 1, atol=1e-6)
        assert load_video(tmp_path / source, 3, count=2).shape == (2, 1, 3, 3)


def test_a_sound_is_scaled_by_its_type_and_resampled(tmp_path: Path) -> None:
    times = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 100 * times) / 2
    for name, samples in (
        ("whole", (tone * 32768).round().astype(np.int16)),
        ("bytes", (tone * 128 + 128).round().astype(np.uint8)),
        ("float", tone.astype(np.float32)),
    ):
        wavfile.write(tmp_path / f"{name}.wav", 8000, samples)
        made = load_sound(tmp_path / f"{name}.wav", 8000)
        assert made.shape == (1, 8000)
        # Half a step of a byte is 1 / 256.
        np.testing.assert_allclose(made[0], tone, atol=0.51 / 128)
    slower = load_sound(tmp_path / "float.wav", 4000)
    assert slower.shape == (1, 4000)
    np.testing.assert_allclose(slower[0, 100:-100], tone[200:-200:2], atol=0.01)
    stereo = np.stack([tone, -tone], 1).astype(np.float32)
    wavfile.write(tmp_path / "stereo.wav", 8000, stereo)
    assert load_sound(tmp_path / "stereo.wav", 8000, count=10).shape == (2, 10)
    with pytest.raises(ValueError, match="9000 samples or more at 8000 Hz, got 8000"):
        load_sound(tmp_path / "stereo.wav", 8000, count=9000)
