"""How well tracks follow the truth: MOTA and IDF1.

Source:
    K. Bernardin and R. Stiefelhagen, "Evaluating multiple object tracking performance: the
    CLEAR MOT metrics", EURASIP JIVP 2008; E. Ristani et al., "Performance measures and a data
    set for multi-target, multi-camera tracking", ECCV workshops 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from vision.boxes import Floats, iou


class Labelled(NamedTuple):
    """The things of one picture: ``number`` (n,) and ``xyxy_px`` (n, 4)."""

    number: NDArray[np.int64]
    xyxy_px: Floats


class TrackingScore(NamedTuple):
    """MOTA and IDF1 as ratios (MOTA may be negative), and what MOTA is made of."""

    mota_ratio: float
    idf1_ratio: float
    missed: int
    false: int
    switches: int


def score_tracks(
    truth: Sequence[Labelled], told: Sequence[Labelled], *, least_iou: float = 0.5
) -> TrackingScore:
    """Compare what a tracker told with the truth, picture by picture.

    Args:
        truth: One for each picture.
        told: As many.
        least_iou: Boxes that overlap less are not of one thing.

    Example:
        >>> box = np.array([[0.0, 0.0, 10.0, 10.0]])
        >>> truth = [Labelled(np.array([1]), box)] * 4
        >>> told = [Labelled(np.array([number]), box) for number in (7, 7, 8, 8)]
        >>> score = score_tracks(truth, told)
        >>> score.mota_ratio, score.idf1_ratio, score.switches
        (0.75, 0.5, 1)
    """
    missed = false = switches = total = told_total = 0
    partner: dict[int, int] = {}
    together: dict[tuple[int, int], int] = {}
    for real, said in zip(truth, told, strict=True):
        total += len(real.number)
        told_total += len(said.number)
        may = iou(real.xyxy_px, said.xyxy_px)
        pairs = may >= least_iou
        for left, right in zip(*np.nonzero(pairs), strict=True):
            key = (int(real.number[left]), int(said.number[right]))
            together[key] = together.get(key, 0) + 1
        # Who was together stays together while it may; only the rest is matched anew.
        cost = np.where(pairs, 1.0 - may, 1e3)
        for left, number in enumerate(real.number.tolist()):
            stays = np.flatnonzero((said.number == partner.get(number, -1)) & pairs[left])
            cost[left, stays] = -1e3
        matched = 0
        for left, right in zip(*linear_sum_assignment(cost), strict=True):
            if not pairs[left, right]:
                continue
            matched += 1
            number, other = int(real.number[left]), int(said.number[right])
            switches += partner.get(number, other) != other
            partner[number] = other
        missed += len(real.number) - matched
        false += len(said.number) - matched
    reals = sorted({pair[0] for pair in together})
    saids = sorted({pair[1] for pair in together})
    shared = np.zeros((len(reals), len(saids)))
    for (number, other), count in together.items():
        shared[reals.index(number), saids.index(other)] = count
    hits = float(shared[linear_sum_assignment(-shared)].sum())
    return TrackingScore(
        mota_ratio=1.0 - (missed + false + switches) / max(total, 1),
        idf1_ratio=2.0 * hits / max(total + told_total, 1),
        missed=missed,
        false=false,
        switches=switches,
    )
