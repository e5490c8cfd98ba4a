"""MXNet 1.9.1: LeNet on MNIST (IDX .gz files), the plain loop in one process.

The SIREN paper compares with MXNet on EC2; this is that peer, on this machine's CPU.
usage: OMP_NUM_THREADS=k python mxnet_lenet.py DATA_DIR [epochs] [batch] [lr] [momentum, or `adam`] [seed]
prints per epoch: images per second, seconds, test accuracy. lenet.sh sets it up.
"""
import gzip, os, struct, sys, time
import numpy as np
import mxnet as mx
from mxnet import autograd, gluon, nd


def idx(path):
    with gzip.open(path, "rb") as f:
        zero, dtype, dims = struct.unpack(">HBB", f.read(4))
        shape = struct.unpack(">" + "I" * dims, f.read(4 * dims))
        return np.frombuffer(f.read(), np.uint8).reshape(shape)


def lenet():
    # 5x5x20 conv, tanh, pool, 5x5x50 conv, tanh, pool, fc500, tanh, fc10: MXNet's own LeNet example, 431,080 parameters
    net = gluon.nn.HybridSequential()
    net.add(gluon.nn.Conv2D(20, 5, activation=os.environ.get("ACT", "relu")), gluon.nn.MaxPool2D(2, 2),
            gluon.nn.Conv2D(50, 5, activation=os.environ.get("ACT", "relu")), gluon.nn.MaxPool2D(2, 2),
            gluon.nn.Flatten(), gluon.nn.Dense(500, activation=os.environ.get("ACT", "relu")), gluon.nn.Dense(10))
    net.initialize(mx.init.Xavier())
    net.hybridize(static_alloc=True, static_shape=True)
    return net


def main():
    root = sys.argv[1]
    arg = lambda i, default, kind: kind(sys.argv[i]) if len(sys.argv) > i else default
    epochs, batch, lr, momentum = arg(2, 1, int), arg(3, 64, int), arg(4, 0.1, float), arg(5, "0", str)
    mx.random.seed(arg(6, 1, int))
    np.random.seed(arg(6, 1, int))
    normalised = lambda name: (idx(os.path.join(root, name)).astype("float32")[:, None] / 255 - 0.1307) / 0.3081
    x = normalised("train-images-idx3-ubyte.gz")
    y = idx(os.path.join(root, "train-labels-idx1-ubyte.gz")).astype("float32")
    xt = normalised("t10k-images-idx3-ubyte.gz")
    yt = idx(os.path.join(root, "t10k-labels-idx1-ubyte.gz")).astype("float32")
    net, loss = lenet(), gluon.loss.SoftmaxCrossEntropyLoss()
    if momentum == "adam":
        trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": lr})
    else:
        trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": lr, "momentum": float(momentum)})
    n = len(x) // batch * batch
    for e in range(epochs):
        order = np.random.permutation(len(x))[:n].reshape(-1, batch)
        t0 = time.time()
        for rows in order:
            bx, by = nd.array(x[rows]), nd.array(y[rows])
            with autograd.record():
                l = loss(net(bx), by)
            l.backward()
            trainer.step(batch)
        nd.waitall()
        dt = time.time() - t0
        acc = np.mean(np.concatenate([net(nd.array(xt[i:i + 1000])).argmax(1).asnumpy()
                                      for i in range(0, len(xt), 1000)]) == yt)
        print(f"epoch {e + 1} images_per_s {n / dt:.0f} seconds {dt:.2f} test_accuracy {acc:.4f}", flush=True)


main()
