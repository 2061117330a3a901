"""Cameras that do not move: control points, lenses, published calibrations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import GeometryError
from geo.homography import Homography, fit_homography
from geo.lens import Lens
from geo.tsai import read_tsai

LENS = Lens(1100.0, 1100.0, 960.0, 540.0, k1=-0.18, k2=0.04, p1=0.001, p2=-0.0005)
#: A street camera 6 m up: forty metres of ground in the picture.
MATRIX = np.array([[0.02, 0.002, -20.0], [0.001, -0.01, 25.0], [0.0, 0.0012, -0.2]])


def some_pixels(count: int = 12) -> np.ndarray:
    return np.random.default_rng(4).uniform((100, 400), (1800, 1050), (count, 2))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1920), st.floats(0, 1080)), min_size=1, max_size=20))
def test_a_lens_undoes_itself(points: list[tuple[float, float]]) -> None:
    ideal = np.array(points)
    assert np.abs(LENS.undistort(LENS.distort(ideal)) - ideal).max() < 1e-4


def test_the_lens_is_that_of_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    matrix = np.array([[1100.0, 0, 960], [0, 1100.0, 540], [0, 0, 1]])
    normal = np.column_stack([(some_pixels() - (960, 540)) / 1100.0, np.ones(12)])
    theirs, _ = cv2.projectPoints(
        normal, np.zeros(3), np.zeros(3), matrix, np.array([-0.18, 0.04, 0.001, -0.0005, 0.0])
    )
    assert np.abs(LENS.distort(some_pixels()) - theirs[:, 0]).max() < 1e-9


@pytest.mark.parametrize("lens", [None, LENS], ids=["pinhole", "distorted"])
@pytest.mark.parametrize("count", [4, 12])
def test_control_points_give_the_plane(lens: Lens | None, count: int) -> None:
    true = Homography(MATRIX, lens)
    pixels = some_pixels(count)
    ground, seen = true.to_ground(pixels)
    assert seen.all()
    found = fit_homography(pixels, ground, lens=lens)
    assert found.residual_rms_m < 1e-6
    elsewhere = np.array([[960.0, 700.0], [500.0, 1000.0]])
    assert np.abs(found.to_ground(elsewhere)[0] - true.to_ground(elsewhere)[0]).max() < 1e-5
    assert np.abs(found.to_pixels(ground) - pixels).max() < 1e-4


def test_the_residual_tells_how_good_the_points_are() -> None:
    pixels = some_pixels(40)
    ground, _ = Homography(MATRIX).to_ground(pixels)
    noise = np.random.default_rng(1).normal(0.0, 0.1, ground.shape)
    found = fit_homography(pixels, ground + noise)
    assert found.residual_rms_m == pytest.approx(0.14, abs=0.03)
    spread = np.sqrt(np.linalg.eigvalsh(found.covariance(np.array([[960.0, 1000.0]])))[0])
    assert (spread >= found.residual_rms_m / 2.0).all()


def test_the_covariance_is_that_of_shaken_pixels() -> None:
    camera = Homography(MATRIX, pixel_sigma_px=2.0)
    pixel = np.array([[900.0, 700.0]])
    shaken = pixel + np.random.default_rng(2).normal(0.0, 2.0, (40_000, 2))
    seen = np.cov(camera.to_ground(shaken)[0].T)
    assert camera.covariance(pixel)[0] == pytest.approx(seen, rel=0.05, abs=0.002)


def test_the_horizon_and_what_is_near_it_is_refused() -> None:
    camera = Homography(MATRIX)
    _, seen = camera.to_ground(np.array([[960.0, 1000.0], [960.0, 168.0], [960.0, 100.0]]))
    assert seen.tolist() == [True, False, False]
    assert np.isnan(camera.to_ground(np.array([[960.0, 100.0]]))[0]).all()
    footprint = camera.footprint(1920, 1080)
    assert footprint.area > 100.0
    assert Homography(MATRIX).footprint(1920, 100).is_empty


@pytest.mark.parametrize(
    ("pixels", "ground", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 2)), "at least 4 were wanted, got 3"),
        (np.zeros((4, 2)), np.zeros((5, 2)), "of one shape"),
        (np.zeros((4, 2)), np.zeros((4, 2)), "all are one"),
        (np.array([[0.0, 0], [1, 1], [2, 2], [3, 3]]), np.eye(4)[:, :2], "leave the plane open"),
        (np.array([[0.0, 0], [1, np.nan], [2, 2], [3, 3]]), np.eye(4)[:, :2], "finite numbers"),
    ],
)
def test_control_points_that_cannot_do_are_refused(
    pixels: np.ndarray, ground: np.ndarray, message: str
) -> None:
    with pytest.raises(GeometryError, match=message):
        fit_homography(pixels, ground)


def test_a_singular_matrix_is_refused() -> None:
    with pytest.raises(GeometryError, match="singular"):
        Homography(np.ones((3, 3)))


@pytest.mark.realdata
def test_the_published_positions_of_eth_come_back(realdata: Path) -> None:
    """H.txt takes (row, column) to metres; obsmat.txt has 360 people's positions."""
    folder = realdata / "video" / "ethucy" / "seq_eth"
    camera = Homography(np.loadtxt(folder / "H.txt"))
    people = np.loadtxt(folder / "obsmat.txt")[:, [2, 4]]
    pixels = camera.to_pixels(people)
    assert len(people) > 8000
    assert (pixels >= 0).all()
    assert (pixels[:, 0] < 480).all()
    assert (pixels[:, 1] < 640).all()
    ground, seen = camera.to_ground(pixels)
    assert seen.all()
    assert np.abs(ground - people).max() < 1e-9
    # Whole pixels, as an operator clicks them, give the plane back to centimetres.
    chosen = np.linspace(0, len(people) - 1, 60).astype(int)
    fitted = fit_homography(pixels[chosen].round(), people[chosen])
    again, _ = fitted.to_ground(pixels)
    assert fitted.residual_rms_m < 0.05
    assert np.hypot(*(again - people).T).max() < 0.1


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("view", "position", "size"),
    [
        ("View_001", (-28.94, -19.53, 7.07), (768, 576)),
        ("View_005", (-14.64, -1.67, 2.11), (720, 576)),
    ],
)
def test_published_tsai_calibrations(
    realdata: Path, view: str, position: tuple[float, ...], size: tuple[int, int]
) -> None:
    path = realdata / "video" / "pets2009" / "data" / "calibration" / f"{view}.xml"
    camera = read_tsai(path)
    assert camera.position_m == pytest.approx(position, abs=0.01)
    columns, rows = np.meshgrid(np.linspace(0, size[0], 20), np.linspace(0, size[1], 20))
    pixels = np.column_stack([columns.ravel(), rows.ravel()])
    ground, seen = camera.to_ground(pixels)
    assert 0.3 < seen.mean() < 1.0
    back = camera.to_pixels(np.column_stack([ground[seen], np.zeros(int(seen.sum()))]))
    assert np.abs(back - pixels[seen]).max() < 1e-3
    # Something that stands up: its head appears above its foot.
    foot = np.array([[*ground[seen][-1], 0.0]])
    head = np.add(foot, (0.0, 0.0, 1.75))
    assert camera.to_pixels(head)[0, 1] < camera.to_pixels(foot)[0, 1]
    raised, _ = camera.to_ground(camera.to_pixels(head), height_m=1.75)
    assert raised[0] == pytest.approx(foot[0, :2], abs=1e-6)


def test_other_files_are_no_calibration(tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    path.write_text("<Camera><Geometry dpx='1' dpy='1'/></Camera>")
    with pytest.raises(GeometryError, match=r"x\.xml: a Tsai calibration was wanted"):
        read_tsai(path)
