"""Words from which the generator makes Chinese names. Streets and roads are made up."""

from __future__ import annotations

import numpy as np

_STREET_WORDS = "望海路 听涛路 青屿路 银帆路 松涧路 云栖路"
_COMMUNITY_WORDS = (
    "福州路 碧湾 观澜 海润路 望岛 听松 石桥 临海路 梧桐 澄园 仙桥路 浅湾 榉林 同乐 槐树里 "
    "晴川路 灯塔 柳岸 新苑 长汀路 金沙 东篱 望潮 桂园"
)
_ROAD_WORDS = (
    "海润 银帆 望岛 听松 碧湾 晴川 长汀 澄海 松涧 云栖 浅湾 临潮 青屿 石桥 梧桐 榉林 槐荫 "
    "柳岸 东篱 灯塔 金沙 仙桥 观澜 同乐 桂园 鹿鸣 栖霞湾 望潮 枫泊 星湾 泊舟 拾贝"
)
_GIVEN_WORDS = "伟 芳 娜 敏 静 磊 洋 勇 艳 杰 涛 明 霞 秀英 建国 丽华 志强 晓燕 海波 春梅 文博 雨桐"

STREETS = tuple(f"{word}街道" for word in _STREET_WORDS.split())
COMMUNITIES = tuple(f"{word}社区" for word in _COMMUNITY_WORDS.split())
ROADS = tuple(_ROAD_WORDS.split())

_SURNAMES = tuple("王李张刘陈杨赵孙周吴徐朱马胡郭林高罗郑梁宋谢韩唐于董程曹袁邓")
_GIVEN = tuple(_GIVEN_WORDS.split())


def person_names(rng: np.random.Generator, count: int) -> list[str]:
    """Names of people who do not exist, no two the same.

    Args:
        rng: Where chance comes from.
        count: At most 660.
    """
    numbers = rng.permutation(len(_SURNAMES) * len(_GIVEN))[:count]
    return [_SURNAMES[n // len(_GIVEN)] + _GIVEN[n % len(_GIVEN)] for n in numbers.tolist()]
