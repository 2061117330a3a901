"""What has changed on the ground between two flights over one place."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.ports import Ground
from vision.boxes import Floats
from vision.detections import Image, Mask, check_image

GROUND_CHANGE = "detection.ground_change"

#: Features are looked for in pictures of at most this width, and the refinement in these.
_FEATURE_WIDTH_PX, _REFINE_WIDTH_PX = 1600, 640

_MOST_FEATURES = 4000
_NEXT_BEST_RATIO = 0.75  # D. Lowe, IJCV 60(2), 2004: a match must be this much nearer
_INLIER_PX = 3.0

#: Below these two pictures are not known to show one place.
_LEAST_INLIERS, _LEAST_INLIER_RATIO = 30, 0.25

#: Of the cells of a 4 x 4 raster over the overlap, so many must hold inliers.
_LEAST_SPREAD_RATIO = 0.4

#: Grey values: less is no change, however quiet the rest of the picture is.
_LEAST_DIFFERENCE = 18.0

#: Standard deviations of the unchanged rest, estimated from the median.
_SIGMAS = 6.0


class RegistrationError(InputError):
    """Two pictures that cannot be put onto each other surely enough."""


class Registration(NamedTuple):
    """How one picture lies on another.

    ``matrix`` (3, 3) takes pixels of the first to pixels of the second. ``inlier_ratio`` is
    the share of matched features that agree, ``residual_px`` their RMS distance, and
    ``correlation`` that of the two pictures after it, -1 to 1.
    """

    matrix: Floats
    matches: int
    inliers: int
    inlier_ratio: float
    residual_px: float
    correlation: float


class Change(NamedTuple):
    """A region that differs, in pixels of the second picture.

    ``polygon_px`` (n, 2). ``area_m2`` is NaN and ``lonlat_deg`` (n, 2, WGS 84) None where the
    ground is not known. ``difference`` is the mean difference in grey values.
    """

    polygon_px: Floats
    area_px: float
    area_m2: float
    lonlat_deg: Floats | None
    difference: float


class Changes(NamedTuple):
    """What two pictures say: changed regions, the largest first.

    ``overlap_ratio`` is the share of the second picture that the first shows, too.
    """

    registration: Registration
    overlap_ratio: float
    regions: list[Change]


def register(before: Image, after: Image) -> Registration:
    """Put one picture onto another of the same flat place.

    Args:
        before: Shape (h, w, 3).
        after: Shape (h, w, 3); the sizes may differ.

    Raises:
        RegistrationError: Too few features agree, or only in one corner, or the result is no
            view of a plane; says the inlier ratio.

    Source:
        D. Lowe, "Distinctive image features from scale-invariant keypoints", IJCV 60(2), 2004;
        D. Barath et al., "MAGSAC++", CVPR 2020; G. Evangelidis and E. Psarakis, "Parametric
        image alignment using enhanced correlation coefficient maximization", TPAMI 30(10), 2008.
    """
    check_image(before)
    check_image(after)
    greys, scales = zip(
        *(_grey(picture, _FEATURE_WIDTH_PX) for picture in (before, after)), strict=True
    )
    from_px, to_px = _matches(greys[0], greys[1])
    found, inside = None, np.zeros(len(from_px), np.bool_)
    if len(from_px) >= 8:
        found, mask = cv2.findHomography(
            from_px, to_px, cv2.USAC_MAGSAC, _INLIER_PX, maxIters=5000, confidence=0.999
        )
        if mask is not None:
            inside = mask.ravel() > 0
    inliers = int(inside.sum())
    ratio = inliers / max(1, len(from_px))
    told = f"{inliers} of {len(from_px)} matched features agree (inlier ratio {ratio:.2f})"
    if found is None or inliers < _LEAST_INLIERS or ratio < _LEAST_INLIER_RATIO:
        raise RegistrationError(
            f"weak registration: {told}; at least {_LEAST_INLIERS} and a ratio of "
            f"{_LEAST_INLIER_RATIO} were wanted. Do both pictures show the same place?"
        )
    matrix = np.asarray(found, np.float64)
    _check_plane(matrix, greys[0].shape, told)
    _check_spread(matrix, from_px[inside], (greys[0].shape, greys[1].shape), told)
    put = cv2.perspectiveTransform(from_px[inside][:, None], matrix)[:, 0]
    residual = float(np.sqrt(((put - to_px[inside]) ** 2).sum(axis=1).mean()))
    # From pixels of the small pictures to those of the full ones.
    matrix = np.diag([1 / scales[1], 1 / scales[1], 1.0]) @ matrix
    matrix = matrix @ np.diag([scales[0], scales[0], 1.0])
    matrix, correlation = _refined(before, after, matrix)
    return Registration(matrix, len(from_px), inliers, ratio, residual / scales[1], correlation)


def find_changes(
    before: Image,
    after: Image,
    ground: Ground | None = None,
    *,
    least_m2: float = 4.0,
    least_px: float = 150.0,
) -> Changes:
    """Register two pictures and give the regions that differ.

    Good for: pictures from straight above at about one height: heaps, sheds, excavations, what
    was covered or uncovered. Fails on: tall buildings seen from two sides (they lean), shadows
    that moved in the hours between, snow, harvest; water and tree tops are never the same.

    Args:
        before: Shape (h, w, 3).
        after: Shape (h, w, 3).
        ground: Of the second picture, for areas in square metres and degrees.
        least_m2: Smaller regions are left out, where the ground is known.
        least_px: Smaller regions are left out, where it is not.

    Raises:
        RegistrationError: See :func:`register`.

    Source:
        Difference images and their threshold: L. Bruzzone and D. Prieto, IEEE TGRS 38(3), 2000.
    """
    registration = register(before, after)
    height, width = after.shape[:2]
    moved = cv2.warpPerspective(before, registration.matrix, (width, height))
    seen = cv2.warpPerspective(
        np.full(before.shape[:2], 255, np.uint8), registration.matrix, (width, height)
    )
    # The rim of a warped picture mixes with black.
    overlap = cv2.erode(seen, np.ones((9, 9), np.uint8), borderValue=0) > 250
    matched = match_gain(np.asarray(moved, np.uint8), after, overlap)
    reach = max(1, round(width / 1280))
    apart = difference(matched, after, reach) * overlap
    quiet = apart[overlap]
    middle = float(np.median(quiet)) if quiet.size else 0.0
    spread = 1.4826 * float(np.median(np.abs(quiet - middle))) if quiet.size else 0.0
    mask: Mask = np.where(apart > max(_LEAST_DIFFERENCE, middle + _SIGMAS * spread), 255, 0).astype(
        np.uint8
    )
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 3, 2 * reach + 3))
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel, iterations=2).astype(np.uint8)
    regions = [
        one
        for contour in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
        if (one := _region(np.asarray(contour, np.int32), apart, ground)) is not None
        and (one.area_px >= least_px if np.isnan(one.area_m2) else one.area_m2 >= least_m2)
    ]
    regions.sort(key=lambda one: -one.area_px)
    return Changes(registration, float(overlap.mean()), regions)


def match_gain(picture: Image, other: Image, inside: NDArray[np.bool_]) -> Image:
    """Give a picture the brightness and contrast of another, channel by channel.

    Medians, so that what has changed does not count.

    Args:
        picture: Shape (h, w, 3).
        other: Shape (h, w, 3).
        inside: Shape (h, w), pixels that both show.

    Example:
        >>> dark = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        >>> bright = (2 * dark + 10).astype(np.uint8)
        >>> bool((match_gain(dark, bright, np.ones((4, 4), bool)) == bright).all())
        True
    """
    if not inside.any():
        return picture
    levels = np.arange(256, dtype=np.float64)
    matched = picture.copy()
    for channel in range(3):
        one, two = picture[..., channel][inside], other[..., channel][inside]
        middle, wanted = float(np.median(one)), float(np.median(two))
        spread = float(np.median(np.abs(one - middle)))
        gain = float(np.median(np.abs(two - wanted))) / spread if spread > 0.0 else 1.0
        # A plain field has no contrast to go by.
        gain = min(max(gain, 0.4), 2.5)
        table = np.clip(np.rint((levels - middle) * gain + wanted), 0, 255).astype(np.uint8)
        matched[..., channel] = table[picture[..., channel]]
    return matched


def difference(one: Image, other: Image, reach_px: int) -> NDArray[np.float32]:
    """How far two pictures are apart in grey values, forgiving a shift of ``reach_px``.

    Args:
        one: Shape (h, w, 3).
        other: Shape (h, w, 3).
        reach_px: A pixel is alike if its neighbours within this are.

    Returns:
        Shape (h, w): the largest of the three channels.

    Example:
        >>> edge = np.zeros((8, 8, 3), np.uint8)
        >>> edge[:, 4:] = 200
        >>> float(difference(edge, np.roll(edge, 1, axis=1), 1)[:, 2:].max())
        0.0
    """
    kernel = np.ones((2 * reach_px + 1, 2 * reach_px + 1), np.uint8)
    soft_one, soft_other = (cv2.GaussianBlur(picture, (0, 0), 0.8) for picture in (one, other))
    above = cv2.subtract(soft_other, cv2.dilate(soft_one, kernel))
    below = cv2.subtract(cv2.erode(soft_one, kernel), soft_other)
    return np.asarray(cv2.max(above, below).max(axis=2), np.float32)


def _grey(picture: Image, width_px: int) -> tuple[NDArray[np.uint8], float]:
    """Grey, no wider than so many pixels, local contrast evened out; and its scale."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    scale = min(1.0, width_px / grey.shape[1])
    if scale < 1.0:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    even = cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(grey)
    return np.asarray(even, np.uint8), scale


def _matches(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Pixels of features that are alike in both pictures, (n, 2) each."""
    finder = cv2.SIFT.create(nfeatures=_MOST_FEATURES)
    (points, what), (other_points, other_what) = (
        finder.detectAndCompute(picture, None) for picture in (one, other)
    )
    none = np.empty((0, 2))
    if len(points) < 2 or len(other_points) < 2:
        return none, none
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(what, other_what, k=2)
    near = [best for best, second in pairs if best.distance < _NEXT_BEST_RATIO * second.distance]
    if not near:
        return none, none
    return (
        np.array([points[match.queryIdx].pt for match in near], np.float64),
        np.array([other_points[match.trainIdx].pt for match in near], np.float64),
    )


def _check_plane(matrix: Floats, shape: tuple[int, ...], told: str) -> None:
    """Refuse a homography that mirrors, folds or shrinks the picture to nothing."""
    height, width = shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    put = cv2.perspectiveTransform(corners[:, None], matrix)[:, 0].astype(np.float32)
    area = cv2.contourArea(put, oriented=True) / (width * height)
    if not cv2.isContourConvex(put) or not 0.05 <= area <= 20.0:
        raise RegistrationError(f"weak registration: {told}, but on no view of a flat place")


def _check_spread(
    matrix: Floats,
    from_px: Floats,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    told: str,
) -> None:
    """Refuse features that agree only in one corner of what both pictures show."""
    (height, width), (wide, high) = shapes[0][:2], (shapes[1][1], shapes[1][0])
    middles = (np.indices((4, 4)).reshape(2, -1).T[:, ::-1] + 0.5) * [width / 4, height / 4]
    put = cv2.perspectiveTransform(middles[:, None], matrix)[:, 0]
    shared = ((put >= 0.0) & (put < [wide, high])).all(axis=1)
    cells = np.clip((from_px / [width / 4, height / 4]).astype(int), 0, 3)
    held = np.zeros(16, np.bool_)
    held[cells[:, 1] * 4 + cells[:, 0]] = True
    ratio = float(held[shared].mean()) if shared.any() else 0.0
    if ratio < _LEAST_SPREAD_RATIO:
        raise RegistrationError(
            f"weak registration: {told}, but only in {ratio:.0%} of what both pictures show; "
            f"{_LEAST_SPREAD_RATIO:.0%} were wanted"
        )


def _refined(before: Image, after: Image, matrix: Floats) -> tuple[Floats, float]:
    """The homography that makes the pictures correlate best, and how well they do."""
    scale = min(1.0, _REFINE_WIDTH_PX / after.shape[1])
    small = np.diag([scale, scale, 1.0])
    target = cv2.resize(
        cv2.cvtColor(after, cv2.COLOR_BGR2GRAY),
        None,
        fx=scale,
        fy=scale,
        interpolation=cv2.INTER_AREA,
    )
    size = (target.shape[1], target.shape[0])
    start = small @ matrix
    moved = cv2.warpPerspective(
        cv2.cvtColor(before, cv2.COLOR_BGR2GRAY), start, size, flags=cv2.INTER_LINEAR
    )
    seen = cv2.warpPerspective(np.full(before.shape[:2], 255, np.uint8), start, size)
    inside = cv2.erode(seen, np.ones((5, 5), np.uint8), borderValue=0)
    plain = float(cv2.computeECC(target, moved, inside))
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-5)
    try:
        better, step = cv2.findTransformECC(
            moved, target, np.eye(3, dtype=np.float32), cv2.MOTION_HOMOGRAPHY, stop, inside, 5
        )
    except cv2.error:  # it does not converge where much has changed
        return matrix, plain
    step = np.asarray(step, np.float64)
    # The step takes pixels of `moved` to pixels of `target`, both small.
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], size], np.float64)
    shift = cv2.perspectiveTransform(corners[:, None], step)[:, 0] - corners
    if better <= plain or float(np.hypot(*shift.T).max()) > 4.0 * _INLIER_PX:
        return matrix, plain
    return np.asarray(np.linalg.inv(small) @ step @ start), float(better)


def _region(
    contour: NDArray[np.int32], apart: NDArray[np.float32], ground: Ground | None
) -> Change | None:
    """A contour as a region; None where it has no extent."""
    rough = cv2.approxPolyDP(contour, 1.2, closed=True)[:, 0].astype(np.float64)
    if len(rough) < 3:
        return None
    area_px = float(cv2.contourArea(contour.astype(np.int32)))
    inside = np.zeros(apart.shape, np.uint8)
    left, top, width, height = cv2.boundingRect(contour)
    cv2.drawContours(inside, [contour], -1, 1, -1)
    part = np.s_[top : top + height, left : left + width]
    strength = float(apart[part][inside[part] > 0].mean())
    area_m2, lonlat = float("nan"), None
    if ground is not None:
        # Pixel edges, not middles: an outline through the middles is half a pixel too small.
        place = ground.metres(_outer(rough))
        if np.isfinite(place).all():
            shifted = place - place.mean(axis=0)
            area_m2 = float(cv2.contourArea(shifted.astype(np.float32)))
            points = ground.points(rough + 0.5)
            if points is not None:
                lonlat = np.column_stack([points.lon_deg, points.lat_deg])
    return Change(rough, area_px, area_m2, lonlat, strength)


def _outer(polygon: Floats) -> Floats:
    """The polygon grown by half a pixel about its middle, in continuous pixels."""
    centre = polygon.mean(axis=0)
    return np.asarray(polygon + 0.5 + 0.5 * np.sign(polygon - centre))
