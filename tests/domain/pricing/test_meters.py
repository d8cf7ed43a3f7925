"""The table of meters and what is derived from it."""

from webapp.domain.pricing.meters import METER_GROUPS, METER_TABLE, METERS


def test_every_meter_is_in_one_group_of_the_forms():
    assert sorted(meter for meters in METER_GROUPS.values() for meter in meters) == sorted(METERS)


def test_a_medium_is_grouped_with_the_media():
    assert set(METER_GROUPS["Audio, image and video tokens"]) == {name for name, meter in METER_TABLE.items() if meter.medium}


def test_every_meter_has_a_label_of_its_own():
    assert len({meter.label for meter in METER_TABLE.values()}) == len(METERS)
