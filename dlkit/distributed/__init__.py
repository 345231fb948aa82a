"""One run on many devices, by torch.distributed: the processes that torchrun starts, and what they share.

What a step sends, and what follows from that. All of it is arithmetic: no time below was measured.

S bytes of parameters, and as many of gradients (float32), on W devices in a ring. A device sends, for each

    reduce-scatter   (W - 1) / W * S bytes, in W - 1 messages     each ends up with the sum of its own 1/W
    all-gather       the same                                     each sends its own 1/W to all others
    all-reduce       2 (W - 1) / W * S, in 2 (W - 1) messages     the first, then the second

which is the least that is possible (Patarasu & Yuan 2009, doi:10.1016/j.jpdc.2008.09.002). A step of

    DDP      an all-reduce of the gradients, in buckets of 1 MiB (the first) and 25 MiB (Li et al., arXiv:2006.15704)
    FSDP2    with the k blocks of a model, and the rest of it as its root: 2 k + 1 all-gathers, since a block's weights
             are let go after the forward pass and gathered again for the backward pass, and k + 1 reduce-scatters:
             1.5 times the bytes of DDP, less what the root is not gathered twice (Zhao et al., arXiv:2304.11277)

and takes at least   messages * latency + bytes / bandwidth   (Thakur et al. 2005, doi:10.1177/1094342005051521), most
of which goes on beside the backward pass. Accumulation divides it by the micro-batches of a step.

With NVLink's 450 GB/s each way between the 8 H100 of a machine, and 50 GB/s (400 Gb/s) between machines, either for
each device, where 8 rings side by side take an eighth of the bytes through each card, or for a whole machine:

                              a device sends      8 devices    64, a card each    64, a card for 8
    ResNet-50   DDP        179 MB      201 MB       0.4 ms          0.5 ms              4 ms
    GPT 1.5 B   DDP       10.9 GB     12.3 GB        24 ms           31 ms            245 ms
                FSDP2     16.1 GB     18.1 GB        36 ms           45 ms            361 ms

ResNet-50 has 25,557,032 parameters, the GPT (GPT-2 XL) 1,557,611,200 in 48 blocks. At the 989 TFLOP/s that an H100 can
reach in bfloat16, 128 images take 3.2 ms (3 * 8.2 GFLOP each) and 8,192 tokens 77 ms (6 FLOP for each parameter), of
which the backward pass is two thirds. Real kernels take longer, and hide more. It follows that

    - DDP is hidden behind the backward pass on one machine, and between machines with a card for each device;
    - with one card for a machine, a GPT of 1.5 B waits for it, unless a step accumulates four micro-batches or more;
    - FSDP2 buys memory with bytes: AdamW's 16 bytes a parameter are 24.9 GB on each device under DDP, and 3.1 GB on
      each of 8 under FSDP2. Where they fit, DDP is the faster.

Latencies add up where messages are small: at an assumed 5 microseconds each, the 5 buckets of ResNet-50 take
5 * 126 * 5 us = 3.2 ms on a ring of 64. There NCCL takes trees of 2 log2(W) messages instead.
"""
