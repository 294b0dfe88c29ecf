"""Context columns as numbers: learned on train, encoded alike for a log and for requests."""

import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

import tfrecsession as trs
from tests import logs
from tfrecsession import InputError
from tfrecsession.sessions.context import Context, ContextLog
from tfrecsession.sessions.derived_context import SECOND, SIZES, of_numpy, of_tensors, zone_table

LOG = [[2, 3, 4], [3, 2], [5]]
START = 1_700_000_000  # a Tuesday, 22:13:20 UTC
TIMES = START + np.array([0, 1, 65, 3600, 3600, 90_000])


def log_of(**columns):
    """A split of six events in three sessions."""
    return logs.sessions_of(LOG, times=TIMES / 86_400, **columns)


def learned(split, context=(), request=(), zone=None, schema=None):
    return ContextLog(split, schema or {}).learn(context, request, zone)


def objects(*values):
    return np.array(values, object)


def test_categories_by_falling_count():
    split = log_of(device=objects("phone", "pc", "phone", None, "", "tv"))
    context = learned(split, ["device"])
    assert context.columns["device"].values == ("phone", "pc", "tv")
    assert split.encoded(context)["context/device"].tolist() == [2, 3, 2, 0, 0, 4]
    newer = log_of(device=objects("pc", "watch", "phone", None, "", "tv"))
    assert newer.encoded(context)["context/device"].tolist() == [3, 1, 2, 0, 0, 4]


def test_whole_numbers_are_categories_where_they_are_few():
    split = log_of(kind=np.array([3, 1, 3, 3, 1, 7]), truth=np.array([True, False, True, True, True, True]))
    context = learned(split, ["kind", "truth"])
    encoded = split.encoded(context)
    assert encoded["context/kind"].tolist() == [2, 3, 2, 2, 3, 4]
    assert encoded["context/truth"].tolist() == [2, 3, 2, 2, 2, 2]
    with_nulls = log_of(kind=np.array([3, np.nan, 3, 1, 1, 9]))  # as Parquet's whole numbers with nulls are read
    truth = log_of(truth=np.array([True] * 6))
    assert with_nulls.encoded(learned(split, ["kind"]))["context/kind"].tolist() == [2, 0, 2, 3, 3, 1]
    assert truth.encoded(learned(split, ["truth"]))["context/truth"].tolist() == [2] * 6
    number = learned(split, ["kind:number"])
    np.testing.assert_allclose(split.encoded(number)["context/kind"].mean(), 0, atol=1e-6)
    assert learned(with_nulls, ["kind"], schema={"kind": "list<int64>"}).columns["kind"].kind == "category"


def test_numbers_have_mean_0_and_deviation_1():
    split = log_of(price=np.array([1.0, 2.0, 3.0, np.nan, np.inf, 2.0]))
    context = learned(split, ["price"])
    deviation = np.std([1, 2, 3, 2])
    expected = [-1 / deviation, 0, 1 / deviation, np.nan, np.nan, 0]
    np.testing.assert_allclose(split.encoded(context)["context/price"], expected, rtol=1e-6)
    far = log_of(price=np.array([1e9, 2, 2, 2, 2, 2]))
    assert far.encoded(context)["context/price"][0] == 10


def test_derived_columns():
    split = log_of()
    encoded = split.encoded(learned(split, ["gap", "hour", "weekday", "month", "position"], zone="Europe/Berlin"))
    assert encoded["context/gap"].tolist() == [0, 2 + 1, 2 + 7, 0, 2 + 0, 0]  # 1 s, 64 s, 0 s
    assert encoded["context/hour"].tolist() == [2 + 23] * 3 + [2 + 0] * 2 + [2 + 0]
    assert encoded["context/weekday"].tolist() == [2 + 1] * 3 + [2 + 2] * 2 + [2 + 3]
    assert encoded["context/month"].tolist() == [2 + 10] * 6
    assert encoded["context/position"].tolist() == [2, 3, 4, 2, 3, 2]
    assert split.encoded(learned(split, ["hour"]))["context/hour"][0] == 2 + 22  # UTC


def test_a_column_of_the_log_wins_over_a_derived_one():
    split = log_of(hour=objects(*"abcabc"))
    assert learned(split, ["hour"]).columns["hour"].kind == "category"


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_tensors_and_arrays_give_the_same_codes_which_are_those_of_the_calendar(zone):
    rng = np.random.default_rng(0)
    seconds = rng.integers(1, 4_102_444_800, 300)
    time = seconds * SECOND + rng.integers(0, SECOND, 300)
    time[:5] = 0
    before = np.where(rng.random(300) < 0.2, 0, np.maximum(time - (2.0 ** rng.uniform(0, 50, 300)).astype(np.int64), 1))
    before[10:20] = time[10:20] - SECOND * 2 ** np.arange(10)  # at the edges of the bins
    position = rng.integers(0, 60, 300)
    for kind in SIZES:
        codes = of_numpy(kind, time, before, position, zone_table(zone))
        cells = (values.reshape(20, 15) for values in (time, before, position))
        found = of_tensors(kind, *cells, zone_table(zone))
        assert found.numpy().ravel().tolist() == codes.tolist(), kind
        assert codes.dtype == np.int32 and codes.max() < 2 + SIZES[kind]
    moments = [datetime.datetime.fromtimestamp(second, ZoneInfo(zone or "UTC")) for second in seconds[5:].tolist()]
    for kind, value in {
        "hour": lambda t: t.hour,
        "weekday": lambda t: t.weekday(),
        "month": lambda t: t.month - 1,
    }.items():
        codes = of_numpy(kind, time, before, position, zone_table(zone))
        assert codes[5:].tolist() == [2 + value(moment) for moment in moments] and not codes[:5].any()


def test_a_request_is_encoded_as_the_log_is():
    split = log_of(device=objects("phone", "pc", "phone", None, "", "tv"), price=np.array([1.0, 2, 3, np.nan, 5, 2]))
    context = learned(split, ["device", "price", "gap"], ["hour"], "Asia/Tokyo")
    lists = [["phone", "pc", "phone"], [None, ""], ["tv"]]
    prices = [np.array([1.0, 2, 3]), [None, 5], ["2.0"]]
    times = [[START, START + 1, float(START + 65)], [np.datetime64(int(TIMES[3]), "s"), "2023-11-14T23:13:20"], [None]]
    given = context.given({"device": lists, "price": prices, "time": times}, {"hour": [3, None, 23]}, [3, 2, 1])
    encoded = split.encoded(context)
    for key in ("context/device", "context/price"):
        np.testing.assert_array_equal(np.concatenate(given[key]), encoded[key])
        assert given[key][0].dtype == encoded[key].dtype
    assert np.concatenate(given["context/time"]).tolist() == [*(TIMES[:5] * SECOND), 0]
    assert given["request/hour"].tolist() == [5, 0, 25]
    assert context.given({"gap": [[None, 1, 64], [None, 0], [2.5]]}, None, [3, 2, 1])["context/gap"][2].tolist() == [4]


def test_a_configuration_holds_all_of_it():
    split = log_of(device=objects("phone", "pc", "phone", None, "", "tv"), price=np.arange(6.0))
    context = learned(split, ["device", "gap"], ["price", "hour"], "Europe/Berlin")
    again = Context.from_config(context.get_config())
    assert again.get_config() == context.get_config() and list(again.keys) == list(context.keys)
    for key, values in split.encoded(context).items():
        np.testing.assert_array_equal(values, again.encode(split.column, split.arrays.columns, split.offsets)[key])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            {"context": ["devise"]},
            r"context: 'devise' must be one of device, times_seen, gap, .*did you mean 'device'",
        ),
        ({"context": ["weather"]}, "prepare the log with context='weather'"),
        ({"request": ["event"]}, r"request=\['event'\]: must be columns that are known when"),
        ({"context": [3]}, r"context=\[3\]: must be a list of names"),
        ({"context": ["device", "device"]}, "must name each column once"),
        (
            {"context": ["hour"], "zone": "Europe/Atlantis"},
            "time_zone='Europe/Atlantis': must be the name of a time zone",
        ),
    ],
)
def test_what_cannot_be_learned_is_named(names, message):
    split = log_of(device=objects(*"abcabc"), times_seen=np.arange(6))
    with pytest.raises(InputError, match=message):
        learned(split, **names)


def test_the_type_of_the_event_to_be_predicted_is_no_request():
    split = log_of(event=objects(*["view"] * 5, "cart"))
    assert learned(split, "event").context == ("event",)
    with pytest.raises(InputError, match="is requested; the type of the event to be predicted is not"):
        learned(split, request=["event"])


def test_a_newer_log_must_have_the_columns():
    context = learned(log_of(device=objects(*"abcabc"), price=np.arange(6.0)), ["device", "price"])
    with pytest.raises(InputError, match="no column 'device', which the model reads: prepare it with context='device'"):
        log_of(price=np.arange(6.0)).encoded(context)
    with pytest.raises(InputError, match="column 'price' must hold numbers, as in training: .*cheap"):
        log_of(device=objects(*"abcabc"), price=objects("1", "2.5", "cheap", None, "", "3")).encoded(context)
    untimed = logs.sessions_of(LOG, timed=False)
    with pytest.raises(InputError, match="gap: needs the times of the events"):
        untimed.encoded(Context(learned(log_of(), ["gap"]).columns.values(), ["gap"]))
    with pytest.raises(InputError, match="'gap' needs the times of the events"):
        learned(untimed, ["gap"])


@pytest.mark.parametrize(
    ("context", "request_", "message"),
    [
        ({"device": [["a", "b"]]}, None, r"context\['device'\]\[0\]: has 2 values, must have 3"),
        ({"device": [["a"] * 3, ["b"] * 3]}, None, "a list of values for each of the 1 histories"),
        ({"device": "phone"}, None, r"context\['device'\]='phone': must be a list of values"),
        ({"devices": [["a"] * 3]}, None, "'devices' must be one that the model reads: device, price.*did you mean"),
        ({"price": [[1, "cheap", 2]]}, None, r"context\['price'\]\[0\]: 'cheap' must be a number"),
        ({"time": [[1e12 * 1000, 1, 2]]}, None, "seconds since 1970, not milliseconds"),
        ({"time": [["yesterday", 1, 2]]}, None, "'yesterday' must be a time"),
        (None, {"hour": [24]}, r"request\['hour'\]: 24 must be from 0 to 23"),
        (None, {"gap": [-1]}, "-1 must be seconds, at least 0"),
        (None, {"hour": [1, 2]}, "a value for each of the 1 histories"),
        (None, ["hour"], r"request=\['hour'\]: must be a dict of columns"),
    ],
)
def test_a_bad_request_is_named(context, request_, message):
    split = log_of(device=objects(*"abcabc"), price=np.arange(6.0))
    with pytest.raises(InputError, match=message):
        learned(split, ["device", "price", "weekday"], ["hour", "gap"]).given(context, request_, [3])


def test_of_a_data_set(tmp_path):
    rows = [
        f"s{s},i{s % 3 + step},{START + 100 * s + step},{'phone' if s % 2 else 'pc'}"
        for s in range(40)
        for step in (0, 1)
    ]
    (tmp_path / "log.csv").write_text("session,item,time,device\n" + "\n".join(rows) + "\n")
    options = {"context": ["device"], "test_span": "10%", "validation_span": "10%", "min_item_support": 1}
    info = trs.prepare(tmp_path / "log.csv", tmp_path / "data", time_zone="Asia/Tokyo", **options)
    assert info["options"]["time_zone"] == "Asia/Tokyo"
    data = trs.load(tmp_path / "data")
    context = data.context(["device", "hour"], request="gap")
    assert (context.context, context.request, context.time_zone) == (("device", "hour"), ("gap",), "Asia/Tokyo")
    assert trs.Context.of(data, ["device"], time_zone="Europe/Berlin").time_zone == "Europe/Berlin"
    assert set(data.test.encoded(context)) == {"context/device", "context/hour", "request/gap"}
    with pytest.raises(InputError, match="time_zone='Moon/Base': must be the name of a time zone"):
        trs.prepare(tmp_path / "log.csv", tmp_path / "other", time_zone="Moon/Base", **options)
