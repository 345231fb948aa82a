"""One run on many devices, by torch.distributed: the processes that torchrun starts, and their communication.

The communication of a training step, and what follows from it. All figures are computed, none was measured.

With S bytes of parameters and as many of gradients (float32), on W devices in a ring, each device sends per

    reduce-scatter   (W - 1) / W * S bytes, in W - 1 messages     each device gets the sum of its own 1/W
    all-gather       the same                                     each device sends its own 1/W to all others
    all-reduce       2 (W - 1) / W * S, in 2 (W - 1) messages     a reduce-scatter, then an all-gather

which is optimal (Patarasu & Yuan 2009, doi:10.1016/j.jpdc.2008.09.002). A step takes, with

    DDP      an all-reduce of the gradients, in buckets of 1 MiB (the first) and 25 MiB (Li et al., arXiv:2006.15704)
    FSDP2    for the k blocks of a model and a root with the rest of it: 2 k + 1 all-gathers, since a block's weights
             are freed after the forward pass and gathered again for the backward pass, and k + 1 reduce-scatters. This
             is 1.5 times the bytes of DDP, except that the root is gathered once (Zhao et al., arXiv:2304.11277)

and at least   messages * latency + bytes / bandwidth   of time (Thakur et al. 2005, doi:10.1177/1094342005051521), most
of it concurrent with the backward pass. Gradient accumulation divides it by the number of micro-batches.

With NVLink's 450 GB/s each way between the 8 H100s of a machine, and 50 GB/s (400 Gb/s) between machines, either with a
network card per device, where 8 parallel rings each send an eighth of the bytes, or with one card per machine:

                              a device sends      8 devices    64, a card each    64, a card for 8
    ResNet-50   DDP        179 MB      201 MB       0.4 ms          0.5 ms              4 ms
    GPT 1.5 B   DDP       10.9 GB     12.3 GB        24 ms           31 ms            245 ms
                FSDP2     16.1 GB     18.1 GB        36 ms           45 ms            361 ms

ResNet-50 has 25,557,032 parameters, the GPT (GPT-2 XL) 1,557,611,200 in 48 blocks. At an H100's peak of 989 TFLOP/s in
bfloat16, 128 images take 3.2 ms (3 * 8.2 GFLOP each) and 8,192 tokens 77 ms (6 FLOP per parameter); two thirds of that
is the backward pass. Real kernels take longer, and hide more communication. It follows that

    - DDP is hidden behind the backward pass on one machine, and between machines with a card per device;
    - with one card per machine, a GPT of 1.5 B waits for it, unless a step accumulates four micro-batches or more;
    - FSDP2 trades communication for memory: AdamW's 16 bytes per parameter are 24.9 GB on each device under DDP, and
      3.1 GB on each of 8 under FSDP2. If they fit, DDP is faster.

Latency dominates for small messages: at an assumed 5 microseconds each, the 5 buckets of ResNet-50 take
5 * 126 * 5 us = 3.2 ms on a ring of 64. NCCL then uses trees of 2 log2(W) messages instead.
"""
