"""What camera.yaml says of the ground."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import rasterio
from affine import Affine

from core.errors import GeometryError
from geo.camera import FlatGroundProjector
from geo.lens import Lens
from geo.terrain import TerrainProjector
from ingest.video.camera_ground import fixed_ground_of, projector_of
from vision.camera_file import CameraFile, parse_camera_file, read_camera_file

LENS = Lens(900.0, 900.0, 640.0, 360.0, k1=-0.25, k2=0.06)
POSE = (
    "{lon_deg: 120.3846, lat_deg: 36.0614, height_agl_m: 60, yaw_deg: 0, pitch_deg: -45, "
    "hfov_deg: 70, width_px: 1280, height_px: 720}"
)


def camera(text: str) -> CameraFile:
    return parse_camera_file(text, "test")


def test_points_in_metres_and_degrees_make_one_plane() -> None:
    ground = fixed_ground_of(
        camera(
            "ground: {origin: [120.0, 36.0], points: ["
            "{pixel: [0, 100], metres: [0, 0]}, {pixel: [100, 100], metres: [10, 0]},"
            "{pixel: [100, 0], metres: [10, 10]}, {pixel: [0, 0], lonlat: [120.0, 36.0000901]}]}"
        )
    )
    assert ground is not None
    assert ground.metres(np.array([[50.0, 50.0]]))[0] == pytest.approx([5.0, 5.0], abs=0.01)
    points = ground.points(np.array([[50.0, 50.0]]))
    assert points is not None
    assert points.lon_deg[0] == pytest.approx(120.0 + 5.0 / 90_163.0, abs=1e-7)


def test_a_matrix_is_taken_as_it_is() -> None:
    ground = fixed_ground_of(
        camera("ground: {matrix: [[0.1, 0, 0], [0, -0.1, 0], [0, 0, 1]], from_above: true}")
    )
    assert ground is not None
    assert ground.from_above
    assert ground.metres(np.array([[50.0, 50.0]])).tolist() == [[5.0, -5.0]]
    assert ground.points(np.array([[50.0, 50.0]])) is None


def test_points_in_one_line_are_refused() -> None:
    with pytest.raises(GeometryError, match="leave the plane open"):
        fixed_ground_of(
            camera(
                "ground: {points: [{pixel: [0, 0], metres: [0, 0]}, {pixel: [1, 1], metres: "
                "[1, 0]}, {pixel: [2, 2], metres: [2, 0]}, {pixel: [3, 3], metres: [3, 0]}]}"
            )
        )


def test_a_bent_lens_is_straightened_for_points_and_for_poses() -> None:
    lens = f"lens: {msgspec.json.encode(LENS._asdict()).decode()}"
    ideal = np.array([[100.0, 100.0], [1200.0, 100.0], [1200.0, 700.0], [100.0, 700.0]])
    seen = LENS.distort(ideal)
    listed = ", ".join(
        f"{{pixel: [{u}, {v}], metres: [{x / 20}, {-y / 20}]}}"
        for (u, v), (x, y) in zip(seen.tolist(), ideal.tolist(), strict=True)
    )
    ground = fixed_ground_of(camera(f"{lens}\nground: {{points: [{listed}]}}"))
    assert ground is not None
    middle = LENS.distort(np.array([[700.0, 500.0]]))
    assert ground.metres(middle)[0] == pytest.approx([35.0, -25.0], abs=1e-6)
    one = camera(f"{lens}\npose: {POSE}")
    assert one.pose is not None
    straight = projector_of(camera(f"pose: {POSE}")).to_ground(ideal, one.pose)
    bent = projector_of(one).to_ground(seen, one.pose)
    own = FlatGroundProjector(lens=LENS._replace(k1=0.0, k2=0.0)).to_ground(ideal, one.pose)
    assert bent.lat_deg == pytest.approx(own.lat_deg, abs=1e-9, nan_ok=True)
    assert bent.lat_deg != pytest.approx(straight.lat_deg, abs=1e-9, nan_ok=True)


def test_a_pose_stands_on_its_terrain(tmp_path: Path) -> None:
    north_up = np.linspace(60.0, -60.0, 240)[:, None] * np.ones((1, 240))  # 120 m over 2.4 km
    raster = tmp_path / "heights.tif"
    with rasterio.open(
        raster,
        "w",
        driver="GTiff",
        width=240,
        height=240,
        count=1,
        dtype="float32",
        crs="EPSG:4326",
        transform=Affine(1e-4, 0.0, 120.3726, 0.0, -1e-4, 36.0734),
    ) as file:
        file.write(north_up.astype(np.float32), 1)
    (tmp_path / "c.yaml").write_text(f"terrain: heights.tif\npose: {POSE}")
    one = read_camera_file(tmp_path / "c.yaml")
    assert one.pose is not None
    projector = projector_of(one)
    assert isinstance(projector, TerrainProjector)
    pixels = np.array([[640.0, 360.0], [300.0, 600.0]])
    hill, flat = (each.to_ground(pixels, one.pose) for each in (projector, FlatGroundProjector()))
    assert (hill.lat_deg < flat.lat_deg).all()  # the slope rises to the north and is met earlier
    back, ahead = projector.to_pixels(hill.lon_deg, hill.lat_deg, one.pose)
    assert ahead.all()
    assert back == pytest.approx(pixels, abs=0.05)


@pytest.mark.realdata
def test_a_published_calibration_places_a_clip(realdata: Path) -> None:
    folder = realdata / "video" / "pets2009" / "data" / "calibration"
    one = camera("ground: {tsai: View_001.xml}")
    assert one.ground is not None
    named = msgspec.structs.replace(one.ground, tsai=str(folder / "View_001.xml"))
    ground = fixed_ground_of(msgspec.structs.replace(one, ground=named))
    assert ground is not None
    metres = ground.metres(np.array([[384.0, 400.0], [384.0, -900.0]]))
    assert np.isfinite(metres[0]).all()
    assert np.isnan(metres[1]).all()


@pytest.mark.realdata
def test_a_published_homography_places_people_where_they_were(realdata: Path) -> None:
    """ETH: H.txt takes (row, column) to metres; obsmat.txt has 360 people's positions."""
    folder = realdata / "video" / "ethucy" / "seq_eth"
    if not folder.is_dir():
        pytest.skip(f"no recording at {folder}")
    # A camera's file counts pixels as (u, v): columns first.
    matrix = np.loadtxt(folder / "H.txt")[:, [1, 0, 2]]
    rows = ", ".join(f"[{', '.join(repr(float(one)) for one in row)}]" for row in matrix)
    ground = fixed_ground_of(camera(f"ground: {{matrix: [{rows}]}}"))
    assert ground is not None
    people = np.loadtxt(folder / "obsmat.txt")[:, [2, 4]]
    plane = np.column_stack([people, np.ones(len(people))]) @ np.linalg.inv(matrix).T
    pixels = plane[:, :2] / plane[:, 2:]
    assert (pixels >= 0).all()
    assert (pixels < (640, 480)).all()
    assert np.abs(ground.metres(pixels) - people).max() < 1e-6
    # Feet are seen to a pixel: that is less than a pace anywhere in the picture.
    assert np.hypot(*(ground.metres(pixels.round()) - people).T).max() < 0.1
