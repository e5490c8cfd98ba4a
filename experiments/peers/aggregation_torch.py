"""PyTorch on one thread: what the store's aggregation does, on flat tensors.

usage: OMP_NUM_THREADS=1 python aggregation_torch.py
prints for each piece of work: its name, seconds each time. aggregation.sh sets it up.
"""
import torch
from timing import measure

LENET, TEN_MILLION, RATE = 431_080, 10_000_000, 1e-6
torch.set_num_threads(1)


def numbers(count):
    return torch.rand(count) - 0.5


def add(count):
    p, g = torch.ones(count), numbers(count)
    measure(f"add_{count}", lambda: p.add_(g, alpha=-RATE), 60_000_000 // count)


def step(name, optimizer, **options):
    p = torch.nn.Parameter(torch.ones(TEN_MILLION))
    p.grad = numbers(TEN_MILLION)
    measure(f"{name}_{TEN_MILLION}", optimizer([p], lr=RATE, fused=True, **options).step, 6)


add(LENET)
add(TEN_MILLION)
step("momentum", torch.optim.SGD, momentum=0.9)
step("adam", torch.optim.Adam)
vectors = [numbers(TEN_MILLION) for _ in range(16)]
# As one writes it: most of the time goes to the memory of the stack.
measure(f"mean_{TEN_MILLION}", lambda: torch.stack(vectors).mean(0), 1)


def sums():
    total = vectors[0].clone()
    for vector in vectors[1:]:
        total.add_(vector)
    return total.div_(16)


measure(f"sums_{TEN_MILLION}", sums, 1)
