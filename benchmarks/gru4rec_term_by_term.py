"""Our session-parallel GRU4Rec compared with the authors' step by step, with the same weights, sessions and negatives.

    TFRECSESSION_DATA=... python benchmarks/gru4rec_term_by_term.py --authors DIR --authors-python EXE

`--authors` and `--authors-python` are as in gru4rec_vs_authors.py. Dropout is off, since it is random. Their GRU is
PyTorch's, whose update gate is the complement of the paper's: its weights change sign in the copy.
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from reporting import write_rows

import tfrecsession as trs

THEIRS = """
import sys
folder, place, loss = sys.argv[1:]
sys.path.insert(0, folder)
import numpy as np, torch, gru4rec_pytorch as authors
ours = dict(np.load(place))
net = authors.GRU4Rec(layers=[100], loss=loss, batch_size=64, constrained_embedding=True, n_sample=2048, bpreg=1.0,
                      elu_param=0.5 if loss == "bpr-max" else 0, learning_rate=0.05, momentum=0.2,
                      logq=1.0 if loss == "cross-entropy" else 0.0, sample_alpha=0.2, device=torch.device("cpu"))
net.P0 = torch.tensor(ours["support"], dtype=torch.float32)
model = net.model = authors.GRU4RecModel(len(ours["table"]), [100], 0.0, 0.0, 0, True)
def gates(kernel):
    update, reset, candidate = np.split(kernel, 3, axis=-1)
    return torch.tensor(np.concatenate([reset, -update, candidate], axis=-1).T.copy())
with torch.no_grad():
    model.Wy.weight.copy_(torch.tensor(ours["table"]))
    model.By.weight.zero_()
    model.G[0].weight_ih.copy_(gates(ours["kernel"]))
    model.G[0].weight_hh.copy_(gates(ours["recurrent_kernel"]))
    model.G[0].bias_ih.zero_()
    model.G[0].bias_hh.zero_()
optimizer = authors.IndexedAdagradM(model.parameters(), 0.05, 0.2)
state, losses = [torch.zeros(64, 100)], []
for items, targets, starts, drawn in zip(*(ours[name] for name in ("items", "targets", "starts", "drawn"))):
    state[0] = state[0].detach().clone()
    state[0][torch.tensor(starts)] = 0
    model.zero_grad()
    columns = torch.tensor(np.concatenate([targets, drawn])).long()
    loss = net.loss_function(model.forward(torch.tensor(items).long(), state, columns, training=True), columns, 64) / 64
    loss.backward()
    optimizer.step()
    losses.append(float(loss.detach()))
np.savez(place, losses=losses, table=model.Wy.weight.detach().numpy(), biases=model.By.weight.detach().numpy()[:, 0],
         state=state[0].detach().numpy())
"""


def ours(data, loss: str, steps: int) -> tuple[dict, dict]:
    """Returns the inputs that the authors' code needs to repeat our steps, and our results."""
    keras.utils.set_random_seed(0)
    settings = trs.presets.read("gru4rec_yoochoose1_64_authors")["settings"] | {"embedding_dropout": 0.0}
    if loss == "cross-entropy":
        settings |= {"loss": "cross_entropy", "logq": 1.0}
    model = trs.training.build("gru4rec", data.items, trs.training.settings_of("gru4rec", settings))
    gru, table = model.recurrent[0], model.output_items
    given = {"table": table.table, "kernel": gru.kernel, "recurrent_kernel": gru.recurrent_kernel}
    given = {name: variable.numpy() for name, variable in given.items()}
    given["support"] = np.concatenate([[1, 1], data.items.counts])
    weight = data.items.counts**0.2
    rng = np.random.default_rng(0)
    drawn = rng.choice(len(weight), size=(steps, 2048), p=weight / weight.sum()).astype(np.int32) + 2
    popularity = model.negatives.draws[1]
    seen, losses = {"items": [], "targets": [], "starts": []}, []
    for step, (batch, targets) in enumerate(data.train.batches(rows=64, steps=1, carry=True).take(steps)):
        popularity.draw = lambda targets=None, step=step: tf.constant(drawn[step])
        model._loss_tracker.reset_state()
        losses.append(float(model.train_step((batch, targets))["loss"]))
        seen["items"].append(batch["items"].numpy()[:, 0])
        seen["targets"].append(targets.numpy()[:, 0])
        seen["starts"].append(batch["position"].numpy()[:, 0] == 0)
    found = {"losses": losses, "table": table.table, "biases": table.biases, "state": model.carried[0]}
    return given | seen | {"drawn": drawn}, {name: np.asarray(value) for name, value in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--authors", required=True)
    parser.add_argument("--authors-python", required=True)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    folder = os.environ.get("TFRECSESSION_DATA")
    if not folder:
        raise SystemExit("TFRECSESSION_DATA is not set: this benchmark needs yoochoose1_64")
    rows = []
    with tempfile.TemporaryDirectory() as place:
        log = Path(folder) / "yoochoose1_64"
        trs.prepare(str(log / "train_sessions.txt"), f"{place}/data", test_input=str(log / "test_sessions.txt"))
        data = trs.load(f"{place}/data")
        for loss in ("bpr-max", "cross-entropy"):
            given, mine = ours(data, loss, options.steps)
            np.savez(f"{place}/{loss}.npz", **given)
            command = [options.authors_python, "-c", THEIRS, options.authors, f"{place}/{loss}.npz", loss]
            subprocess.run(command, check=True)
            theirs = np.load(f"{place}/{loss}.npz")
            differences = {name: float(np.abs(mine[name] - theirs[name]).max()) for name in mine}
            rows.append({"loss": loss, "steps": options.steps, **{f"{n}_differ_by": v for n, v in differences.items()}})
            print(rows[-1], flush=True)
    write_rows("gru4rec_term_by_term", rows)


if __name__ == "__main__":
    main()
