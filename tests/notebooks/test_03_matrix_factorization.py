"""The vectors say more than biases; ratings are the wrong question; strangers are answered."""


def test_people_items_and_strangers(run):
    told = run(
        "03_matrix_factorization", ITEMS=200, USERS=300, SESSIONS=2500, EPOCHS=3, FACTORS=8, LEARNERS=["ratings", "ALS"]
    )
    rmse = {name: error.rmse for name, error in told.errors.items()}
    assert rmse["the truth"] < rmse["ALS"] < rmse["biases alone"] < rmse["mean rating"]
    recall = {name: found.metrics["recall@20"] for name, found in told.lists.items()}
    assert recall["ratings"] < recall["popularity"] < recall["ALS"]
    folded = [found.metrics["recall@20"] for found in told.folded["ALS"].values()]
    assert folded[-1] > folded[0]
    assert told.new_recall["category"] > told.new_recall["chance"] + 0.1
