"""PyTorch: the same LeNet (20-50-500-10, 431,080 parameters), batch, data and loop as mxnet_lenet.py.

usage: python torch_lenet.py DATA_DIR THREADS [epochs] [batch] [lr] [momentum, or `adam`] [seed]
prints per epoch: images per second, seconds, test accuracy. lenet.sh sets it up.
"""
import gzip, os, struct, sys, time
import numpy as np
import torch
from torch import nn


def idx(path):
    with gzip.open(path, "rb") as f:
        _, _, dims = struct.unpack(">HBB", f.read(4))
        shape = struct.unpack(">" + "I" * dims, f.read(4 * dims))
        return np.frombuffer(f.read(), np.uint8).reshape(shape).copy()


root, threads = sys.argv[1], int(sys.argv[2])
arg = lambda i, d, t: t(sys.argv[i]) if len(sys.argv) > i else d
epochs, batch, lr, momentum = arg(3, 1, int), arg(4, 64, int), arg(5, 0.1, float), arg(6, "0", str)
torch.manual_seed(arg(7, 1, int))
ACT = nn.Tanh if os.environ.get("ACT") == "tanh" else nn.ReLU
torch.set_num_threads(threads)
normalised = lambda name: (torch.from_numpy(idx(os.path.join(root, name))).float()[:, None] / 255 - 0.1307) / 0.3081
x = normalised("train-images-idx3-ubyte.gz")
y = torch.from_numpy(idx(os.path.join(root, "train-labels-idx1-ubyte.gz"))).long()
xt = normalised("t10k-images-idx3-ubyte.gz")
yt = torch.from_numpy(idx(os.path.join(root, "t10k-labels-idx1-ubyte.gz"))).long()
net = nn.Sequential(nn.Conv2d(1, 20, 5), ACT(), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), ACT(), nn.MaxPool2d(2),
                    nn.Flatten(), nn.Linear(800, 500), ACT(), nn.Linear(500, 10))
if momentum == "adam":
    opt = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
else:
    opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=float(momentum))
loss = nn.CrossEntropyLoss()
n = len(x) // batch * batch
for e in range(epochs):
    order = torch.randperm(len(x))[:n].reshape(-1, batch)
    t0 = time.time()
    for rows in order:
        opt.zero_grad()
        loss(net(x[rows]), y[rows]).backward()
        opt.step()
    dt = time.time() - t0
    with torch.no_grad():
        acc = (torch.cat([net(xt[i:i + 1000]).argmax(1) for i in range(0, len(xt), 1000)]) == yt).float().mean().item()
    print(f"epoch {e + 1} images_per_s {n / dt:.0f} seconds {dt:.2f} test_accuracy {acc:.4f}", flush=True)
