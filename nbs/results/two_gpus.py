"""A training step of `workstation` on 64 x 512 tokens, alone and shared by two GPUs: with gradients averaged in buckets of several sizes, and as a CUDA graph that averages them at its end; with all matrices orthogonalised by both, and with a keeper for each. Another recording averages gradients meanwhile where the first does at its end, and the other way round. Recordings take turns, so that each meets GPUs as warm as the others do; they are all there at once.

    OMP_NUM_THREADS=8 torchrun --nproc-per-node 2 nbs/results/two_gpus.py [BATCH_SIZE VOCAB_SIZE [recorded]]

`recorded`: only what is recorded. On a CPU it runs at a small size, to see that it does."""
import gc
import os
import statistics
import sys
import time
from dataclasses import replace

import torch

from bijdiff.denoiser import DenoiserConfig, build
from bijdiff.noise import Absorbing
from bijdiff.objective import training_batch
from bijdiff.optim import Ema, build_optimizer
from bijdiff.parallel import Divided, World, _group_aside, _seconds_to_exchange
from bijdiff.step import Objective, TrainingStep

gpu = torch.cuda.is_available()
world = World.join(torch.device('cuda' if gpu else 'cpu')).overlapping()
preset, vocab_size, block_size, batch_size, steps = ('workstation', 50_257, 512, 64, 12) if gpu else ('tiny', 300, 32, 2, 2)
if len(sys.argv) > 1: batch_size, vocab_size = map(int, sys.argv[1:3])
recorded_only = sys.argv[3:] == ['recorded']
wait = torch.cuda.synchronize if gpu else lambda: None

torch.manual_seed(0)
with world.device: model = build(DenoiserConfig.preset(preset, vocab_size=vocab_size, block_size=block_size, memory='stored', compile=gpu, branch_dtype='bfloat16' if gpu else 'float32')).train()
ema = Ema(model, compile=gpu)
parts, halved = ((model, build_optimizer(model, compile=gpu, spread=spread), ema) for spread in (None, Divided(world, model)))


def batches(size):
    generator, rank = torch.Generator().manual_seed(world.rank), torch.arange(size)
    found = [training_batch(torch.randint(vocab_size, (size, block_size), generator=generator), torch.zeros_like(rank), rank + i * size, Absorbing(), 0, vocab_size) for i in range(4)]
    return [batch.pin_memory() for batch in found] if gpu else found


def timed(data, *takers, laps=3):
    "Milliseconds of a step on both processes by each of `takers`, in so many laps, in order; they take turns."
    gc.collect()  # what shared the step before has hooks on the gradients
    for step in takers:
        for i in range(16): step([data[i % 4]])  # each number of losses several times, so that all is compiled and recorded
    times = [[] for _ in takers]
    for _ in range(laps):
        for step, own in zip(takers, times):
            wait()
            world.gather(None)
            start = time.perf_counter()
            for i in range(steps): step([data[i % 4]])
            wait()
            own.append(1e3 * (time.perf_counter() - start) / steps)
    return [sorted(own) for own in times]


def shared(parts, bucket_mb):
    step = TrainingStep(*parts, world=World(world.device))
    step.world, step.objective = world, world.shared(Objective(model), bucket_mb=bucket_mb)
    return step


def say(what, laps, alone=None):
    "Print what all processes take by `laps`, or each of them; and how many times as fast that is as each of them `alone`, the fastest first. Returns the milliseconds of each."
    each = world.gather(laps)
    if world.rank == 0: print(f'{what:48} ' + ' | '.join(f'{statistics.median(laps):.2f} ms ({laps[0]:.2f} to {laps[-1]:.2f})' for laps in (each[:1] if alone else each)) + (f', {" | ".join(f"{world.size * ms / statistics.median(laps):.3f}" for ms in sorted(alone))} times' if alone else ''), flush=True)
    return [statistics.median(laps) for laps in each]


class Waiting(World):
    "Processes that keep their gradients to themselves."
    def average(self, tensors, meanwhile=False, keepers=None, largest=()): return super().average(tensors[-1:], largest=largest) if largest else []


gradients, keepers = [torch.zeros_like(p) for p in model.parameters()], [halved[1].spread.keeper.get(p) for p in model.parameters()]
for what, laps in zip(('for both', 'for their keepers'), timed(batches(1), lambda parts: world.average(gradients), lambda parts: world.average(gradients, keepers=keepers))): say(f'all gradients averaged alone, {what}', laps)
if gpu: say('64 MiB exchanged', [1e3 * _seconds_to_exchange(world.device)])
del gradients
for name, size, buckets in (('', batch_size, (25, 1000, 200)), ('handed out: ', 2, (25,))):
    data = batches(size)
    if not recorded_only:
        alone = say(f'{name}{size} x {block_size}, nothing shared', *timed(data, TrainingStep(*parts, world=World(world.device))))
        say(f'{name}bucket {buckets[0]} MiB, matrices by both', *timed(data, shared(parts, buckets[0])), alone)
        for bucket_mb in buckets: say(f'{name}bucket {bucket_mb} MiB', *timed(data, shared(halved, bucket_mb)), alone)
    if not gpu: continue
    when, aside = ('at the end', None) if world.aside else ('meanwhile', _group_aside())
    takers = {'recorded, nothing shared': (parts, World(world.device)), 'recorded, only the loss and the range shared': (parts, Waiting(world.device, world.rank, world.size, world.control)), 'recorded, matrices by both': (parts, world),
              'recorded': (halved, world), f'recorded, averaged {when}': (halved, replace(world, aside=aside))}
    found = timed(data, *(TrainingStep(*own, world=place, record=True) for own, place in takers.values()), laps=8)
    (first, laps), *others = zip(takers, found)
    alone = say(name + first, laps)
    for what, laps in others: say(name + what, laps, alone)
world.gather(None)
sys.stdout.flush()
os._exit(0)  # threads of process groups can abort
