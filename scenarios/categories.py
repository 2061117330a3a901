"""The national category codes: components 部件 and matters 事项 of GB/T 47678.5.

A code has five digits, two for the major class and three for the minor one, and is unique only
together with its kind. Matters of majors 01 to 05 are a component out of order and share its
code; the other matters have majors of their own. Some names are shortened: the code counts.
Numbers that are missing here are missing in the list itself.
"""

from __future__ import annotations

from scenarios.model import CategoryKind

SYSTEM = "GB/T 47678.5"
LEGACY_SYSTEM = "GB/T 30428.2-2013"

#: Major classes of matters, now and in GB/T 30428.2.
_LEGACY_MAJORS = {"06": "01", "07": "02", "08": "03", "09": "04"}


def _table(*classes: str) -> dict[str, str]:
    majors, lists = classes[::2], classes[1::2]
    return {
        major + entry[:3]: entry[3:]
        for major, entries in zip(majors, lists, strict=True)
        for entry in entries.split()
    }


#: Components by code.
COMPONENTS: dict[str, str] = _table(
    # 01 市政公用设施
    "01",
    "001供水井盖 002污水井盖 003雨水井盖 004雨水箅子 005电力井盖 006路灯井盖 007通信井盖 "
    "008电视井盖 009网络井盖 010热力井盖 011燃气井盖 012公安井盖 013消防设施 014园林井盖 "
    "015信号灯电源井盖 017电缆井盖 018化粪池井盖 019中水井盖 020公交井盖 021输油(气)井盖 "
    "022特殊井盖 023不明井盖 024水井 025供水器 026沟槽盖板 027通信交接箱 028电力设施 "
    "029电力设施标识牌 030电力立杆 031通信立杆 032公交立杆 033特殊立杆 034不明立杆 "
    "035旗杆 036输油(气)标志 037路灯 038地灯 039景观灯 040报刊亭 041电话亭 042邮筒 "
    "043信息亭 044售货亭 045自动售货机 046户外健身设施 047高压线铁塔 048变压器(箱) "
    "049燃气调压站(箱) 050监控电子眼设施 051治安岗亭 052休息亭 053自助缴费机 054充电桩 "
    "055防蚊闸 056跨河管道 057露天燃气管道 058晒衣架 059旧衣物回收箱 060路灯配电箱 "
    "061露天供热管道 062通信基站 063水塔 064牌楼(门楼) 065管理责任公示牌 066紧急报警点SOS "
    "067防汛监测设施 068水鹤 069水域附属设施 070水域护栏 071防汛墙 072排水泵站 "
    "073雨污水排放口 074综合管廊附属设施 075快递柜 076公用电梯 077综合杆",
    # 02 交通设施
    "02",
    "001停车场 002立体车库 003停车计费设备 004公交站设施 005出租车停靠站 006过街天桥 "
    "007地下通道 008立交桥 009跨河桥 010交通标志牌及标线 011限高架标志 012路名牌 "
    "013地名牌 014交通信号灯 015交通信号设施 016交通岗亭 017交通护栏 018防撞桶 019安全岛 "
    "020人行横道桩 021便道桩 022柔性隔离体 023道路信息显示屏 024道路隔音屏 "
    "025非机动车停放点 026自行车租赁点 027存车支架 028铁道口设施 029栈桥 030水域标示牌 "
    "031港监设施 032轨道交通设施 033交通反视镜 034无障碍设施 035应急避难指示牌 "
    "036救助站指示牌 037文物建筑标志牌 038门(楼号)牌 039公安指示牌 040景区标识牌 "
    "041停车信息显示屏 042铁路桥涵 043减速带 044公路隧道",
    # 03 市容环卫设施
    "03",
    "001公共厕所 002公厕指示牌 003化粪池 004垃圾间(楼) 005垃圾箱 006户外广告 007牌匾标识 "
    "008宣传栏 009气象监测站 010环保监测站 011污水口监测站 012污水监测器 013噪声显示屏 "
    "014环卫工具间(箱) 015宠物拾便纸箱 016烟头收集器",
    # 04 园林绿化设施
    "04",
    "001古树名木 002行道树 003独立树 004护树设施 005花架花钵 006雕塑 007街头座椅 "
    "008绿地护栏 009绿地附属设施 010喷泉 011树池树穴 012高架挂箱 013绿地 "
    "014林地及林地管护设施",
    # 05 其他设施
    "05",
    "002公房地下室 003车辆加油(气、电)站 009文物古迹",
)

#: Matters that are no component.
_OTHER_MATTERS: dict[str, str] = _table(
    # 06 市容环境
    "06",
    "001私搭乱建 002店面无证装修 003违章接坡 004建筑物外立面污损 005临街阳台屋顶脏乱差 "
    "006擅自挂彩旗 007沿街晾挂 008擅自架设管线杆线 009空调室外机低挂 010暴露垃圾 "
    "011积存垃圾渣土 012道路不洁 013道路破损 014道路遗撒 015沙(河)滩不洁 "
    "016交通标线不清晰 017绿地脏乱 018绿化弃料 019非装饰性吊挂 020焚烧垃圾树叶 021病虫害 "
    "022非法伐树 023堤岸破损 024水域秩序乱象 025水域不洁 026河道污染 027油烟污染 "
    "028噪声扰民 029露天烧烤 030乱倒乱排污水废水 032非正规垃圾填埋场 033乱丢弃医疗废物 "
    "034废弃车辆 035废弃家具设备 036乱堆杂物 037动物尸体 038擅自饲养家禽家畜 "
    "039违章开设道口 040私设地锁阻车桩 041垃圾未分类 042垃圾站(箱)满溢 043遮阳篷破损 "
    "044节庆装饰物破损 045非法占绿毁绿 046占用河道 047公园秩序 048边坡(挡土墙)破损 "
    "049台阶破损 050路缘石缺损 051盲道缺损 052无障碍坡道破损",
    # 07 宣传广告
    "07",
    "001非法小广告 002街头散发广告 003违规户外广告 004广告语言文字不规范 006违规牌匾标识 "
    "007违规标语宣传品 008公益性宣传品缺损",
    # 08 施工管理
    "08",
    "001施工扰民 002施工占道 003无证掘路 004工地扬尘 005施工废弃料 006施工物料乱堆放 "
    "007工地围挡问题 008工地道路未硬化 009出入口道路破损 010未场光地净 011渣土车未密闭 "
    "012车轮夹带 013违规高空悬吊 014预埋件裸露 015公示牌污损 016无证建设",
    # 09 街面秩序
    "09",
    "001无照经营游商 002早(夜)市管理 003流浪乞讨 004废品收购乱象 005店外经营 006占道经营 "
    "008非法出版物 009机动车乱停放 010非机动车乱停放 011共享单车乱象 012占用消防通道 "
    "013临街屠宰 014畜力车进城 015无证餐饮 016违规设停车场 017违规占用桥下空间 "
    "018履带车上路 019占用无障碍通道 020农贸市场秩序 021占道洗车 022占道促销宣传",
    # 10 其他
    "10",
    "001道路积雪结冰 002架空线缆脱落",
)

#: Matters by code: a component out of order, or one of the others.
MATTERS: dict[str, str] = {
    **{code: f"{name}异常" for code, name in COMPONENTS.items()},
    **_OTHER_MATTERS,
}


def category_name(kind: CategoryKind, code: str) -> str | None:
    """The national name of a code; None where the list does not have it.

    Example:
        >>> category_name(CategoryKind.MATTER, "01004"), category_name(CategoryKind.MATTER, "99")
        ('雨水箅子异常', None)
    """
    return (COMPONENTS if kind is CategoryKind.COMPONENT else MATTERS).get(code)


def legacy_code(code: str) -> str | None:
    """A matter's four-digit code in GB/T 30428.2-2013; None where it had none of its own.

    Example:
        >>> legacy_code("09009"), legacy_code("01004")
        ('0409', None)
    """
    major = _LEGACY_MAJORS.get(code[:2])
    return None if major is None or code not in MATTERS else major + code[3:]
