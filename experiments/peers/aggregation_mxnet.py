"""MXNet 1.9.1: a push to its local KVStore and a pull from it, of one flat array of LeNet's size.

usage: OMP_NUM_THREADS=k python aggregation_mxnet.py
prints: the name, seconds for each push and pull. aggregation.sh sets it up.
"""
import mxnet as mx
from timing import measure

COUNT, RATE, PASSES = 431_080, 1e-6, 139
w, g = mx.nd.ones(COUNT), mx.nd.random.uniform(-0.5, 0.5, COUNT)
kv = mx.kv.create("local")
kv.init(0, w)
kv.set_optimizer(mx.optimizer.SGD(learning_rate=RATE, momentum=0, wd=0))
mx.nd.waitall()


def push_and_pull():
    kv.push(0, g)
    kv.pull(0, out=w)
    w.wait_to_read()


measure(f"push_and_pull_{COUNT}", push_and_pull, PASSES)
mx.nd.waitall()
