#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the folder that train.py made, reading it with Hugging Face transformers rather than with train.py's model.

    loss     mean over the held-out documents, packed into one stream and cut into windows of n_positions, every
             token scored once, beside a 5-gram model (interpolated modified Kneser-Ney; Chen and Goodman 1998) of
             the same tokens, counted on the training documents
    prompts  greedy completions of ten everyday prompts and how many of them are Python

An independent reader matters: a wrong order of q, k and v in the file would show here as a ruined loss.
Prints Markdown, ready for the model card.
"""

import argparse
import ast
import math
import pathlib

import numpy as np

from train import encode, read_corpus

PROMPTS = [
    "def fibonacci(n):\n    if n < 2:\n        return n\n",
    "import os\n\ndef list_files(path):\n    files = []\n    for name in os.listdir(path):\n",
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n",
    'def is_even(n):\n    """Return True if n is even."""\n',
    "import json\n\ndef read_json(path):\n    with open(path) as f:\n",
    "import argparse\n\ndef main():\n    parser = argparse.ArgumentParser()\n",
    "def find(items, target):\n    for i, item in enumerate(items):\n",
    "def count_words(text):\n    counts = {}\n    for word in text.split():\n",
    "class Point:\n    def __init__(self, x, y):\n        self.x = x\n",
    "import unittest\n\nclass TestMath(unittest.TestCase):\n    def test_add(self):\n",
]

# ----------------------------------------------------------------------------------- 5-gram

ORDER = 5
TOKEN_BITS = 12  # five tokens in one 64-bit key: a vocabulary of at most 4096


class FiveGram:
    """p(w|context) = max(c - D(c), 0) / total + backoff * p(w|shorter context), down to the uniform distribution.

    Each order is a sorted array of n-gram keys. The highest counts occurrences; a lower one counts in how many
    different left neighbours the n-gram was seen. D(1), D(2), D(3 and more) come from the counts of counts.
    """

    def __init__(self, stream, vocabulary):
        self.vocabulary, self.tables = vocabulary, []
        keys, counts = np.unique(ngrams(stream, ORDER), return_counts=True)
        for order in range(ORDER, 0, -1):
            self.tables.append(self.table(keys, counts))
            if order > 1:
                keys, counts = np.unique(keys & np.uint64((1 << TOKEN_BITS * (order - 1)) - 1), return_counts=True)

    @staticmethod
    def table(keys, counts):
        n1, n2, n3, n4 = ((counts == i).sum() for i in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2)
        discounts = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        discount = discounts[np.minimum(counts, 3)]
        contexts, first = np.unique(keys >> np.uint64(TOKEN_BITS), return_index=True)
        totals = np.add.reduceat(counts, first)
        backoffs = np.add.reduceat(discount, first) / totals
        return keys, counts - discount, contexts, totals, backoffs

    def probabilities(self, stream):
        """Of stream[ORDER - 1:], each given the tokens before it."""
        p = np.full(len(stream) - ORDER + 1, 1.0 / self.vocabulary)
        for order, (keys, kept, contexts, totals, backoffs) in zip(range(1, ORDER + 1), reversed(self.tables)):
            wanted = ngrams(stream[ORDER - order:], order)
            at, seen = find(keys, wanted)
            row, known = find(contexts, wanted >> np.uint64(TOKEN_BITS))
            own = np.where(seen, kept[at], 0.0) / totals[row]
            p = np.where(known, own + backoffs[row] * p, p)
        return p


def ngrams(stream, order):
    """Key of the n-gram that ends at each position from order - 1 on, newest token in the low bits."""
    keys = np.zeros(len(stream) - order + 1, dtype=np.uint64)
    for i in range(order):
        keys = keys << np.uint64(TOKEN_BITS) | stream[i:i + len(keys)].astype(np.uint64)
    return keys


def find(sorted_keys, wanted):
    at = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    return at, sorted_keys[at] == wanted


# ------------------------------------------------------------------------------------- loss


def model_nats(model, stream):
    """Sum of -log p over stream[1:]; every window starts without memory of the one before."""
    import torch
    from torch.nn import functional as F

    length, total = model.config.n_positions, 0.0
    tokens = torch.from_numpy(stream.astype(np.int64))
    with torch.no_grad():
        for s in range(0, len(tokens) - 1, length):
            target = tokens[s + 1:s + 1 + length]
            logits = model(tokens[None, s:s + len(target)]).logits[0].float()
            total += F.cross_entropy(logits, target, reduction="sum").item()
    return total


def report_loss(args, model):
    train, held_out = encode(args.work, held_out=False), encode(args.work, held_out=True)
    size = sum(d[2] for d in held_out)
    stream = np.concatenate([d[0] for d in held_out])
    vocabulary = model.config.vocab_size
    padded = np.concatenate([np.full(ORDER - 2, model.config.eos_token_id, np.uint16), stream])
    five = FiveGram(np.concatenate([d[0] for d in train]), vocabulary)  # each document once, whatever its weight
    rows = [("uniform", math.log(vocabulary) * (len(stream) - 1)),
            ("5-gram, modified Kneser-Ney", -np.log(five.probabilities(padded)).sum()),
            ("this model", model_nats(model, stream))]
    print(f"{len(held_out)} held-out documents, {len(stream)} tokens, {size} bytes "
          f"({len(train)} training documents, {sum(len(d[0]) for d in train)} tokens)\n")
    print("| | nats/token | bits/byte |\n|---|---|---|")
    for name, nats in rows:
        print(f"| {name} | {nats / (len(stream) - 1):.4f} | {nats / math.log(2) / size:.4f} |")
    print(flush=True)


# ---------------------------------------------------------------------------------- prompts


def is_python(prompt, completion, ended):
    """Prompt and completion, less the completion's last line (it may be unfinished) unless the model itself ended
    the document, must parse, and at least one line of the completion must be left that is not blank."""
    kept = completion if ended else completion[:completion.rfind("\n") + 1]
    try:
        ast.parse(prompt + kept)
    except SyntaxError:
        return False
    return bool(kept.strip())


def report_prompts(args, model, tokenizer):
    import torch

    texts = [d["text"] for d in read_corpus(args.work) if not d["held_out"]] if args.work else []
    valid = 0
    for number, prompt in enumerate(PROMPTS, 1):
        ids = torch.tensor([tokenizer.encode(prompt).ids])
        end = model.config.eos_token_id
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False,
                             max_new_tokens=args.tokens, pad_token_id=end)[0, ids.shape[1]:].tolist()
        ended = out[-1] == end
        completion = tokenizer.decode(out[:-1] if ended else out, skip_special_tokens=False)
        if "\n\n" in completion:  # a blank line ends the block, as the stop string of an editor would
            completion, ended = completion[:completion.index("\n\n")] + "\n", True
        good = is_python(prompt, completion, ended)
        valid += good
        copies = sum(prompt in t for t in texts)
        print(f"{number}. {'valid' if good else 'NOT valid'}{', ended' if ended else ''}"
              f" (prompt verbatim in {copies} training documents)\n")
        lines = (prompt.rstrip("\n") + "\n# ---- completion ----\n" + completion).split("\n")
        print("```python\n" + "\n".join(lines) + "\n```\n")
    print(f"**{valid} of {len(PROMPTS)} valid.**")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=pathlib.Path, default=pathlib.Path(__file__).parent / "codegen-tiny-python")
    parser.add_argument("--work", type=pathlib.Path, help="train.py's scratch folder; without it only the prompts")
    parser.add_argument("--tokens", type=int, default=64, help="new tokens a prompt")
    args = parser.parse_args()

    import torch
    from tokenizers import Tokenizer
    from transformers import CodeGenForCausalLM

    model = CodeGenForCausalLM.from_pretrained(args.model, torch_dtype=torch.float32).eval()
    if args.work:
        report_loss(args, model)
    report_prompts(args, model, Tokenizer.from_file(str(args.model / "tokenizer.json")))


if __name__ == "__main__":
    main()
