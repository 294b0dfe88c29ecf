import numpy as np
import pytest

import tfrecsession as trs


@pytest.fixture(scope="session")
def exports(shop, tmp_path_factory):
    """A folder of models: popularity 1, and gru4rec 1 and 2 with different weights."""
    folder = tmp_path_factory.mktemp("saved_models")
    popularity = trs.models.Popularity(shop.items)
    popularity.fit(shop.train)
    popularity.export(folder / "popularity" / "1", k=5)
    for version in (1, 2):
        np.random.seed(version)
        model = trs.models.GRU4Rec(shop.items, units=[8], negatives=trs.negatives.Popularity(8))
        model.export(folder / "gru4rec" / str(version), k=5)
    return folder


@pytest.fixture(scope="session")
def server(exports):
    with trs.serving.Server(exports, rest_port=0, grpc_port=0, poll_seconds=0.1) as running:
        yield running
