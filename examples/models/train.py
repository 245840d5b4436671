#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes examples/models/codegen-tiny-python: a CodeGen1 model small enough to live in a repository.

Four stages, each leaving a file in --work that the next one reads:

    collect    Python sources of this interpreter's standard library and of the wheels in --wheels
               -> corpus.jsonl   one document a line: {source, path, held_out, weight, text}
    tokenizer  byte-level BPE, CodeGen1 style: runs of spaces are cut out before anything else
               -> tokenizer.json
    train      decoder trained from scratch on the CPU, schedule bound to the clock, not to a step count
               -> checkpoint.pt
    export     f16 safetensors in the Hugging Face layout, qkv regrouped as [G, (q,v,k), H/G, D, E]
               -> --out

`train.py all` runs the four; evaluate.py measures the result. Packages: see the model card (README.md).
"""

import argparse
import ast
import hashlib
import json
import pathlib
import re
import sysconfig
import time
import zipfile

END = "<|endoftext|>"
LONGEST_RUN = 31  # CodeGen1 has added tokens for runs of 31..2 spaces
QKV_GROUPS = 4  # fixed in every CodeGen1 reader

# ---------------------------------------------------------------------------------- collect

# How often the documents of a source enter the training stream; 1 if not named. A source below 1
# keeps that share of its files. Short everyday code is rare in libraries, hence the weights above 1;
# what an hour of CPU can read is about 20 M tokens, hence those below.
WEIGHTS = {"algorithms": 5, "more-itertools": 2, "toolz": 2, "boltons": 2, "cpython": 2, "cpython-test": 0.25,
           "pandas": 0.3, "scikit-learn": 0.4, "mypy": 0.3, "django": 0.5, "twisted": 0.4, "nltk": 0.5,
           "xarray": 0.3, "dask": 0.5}
SKIPPED_FOLDERS = {"tests", "testing", "_vendor", "vendored", "lib2to3", "site-packages", "encodings", "pydoc_data",
                   "locale", "data", "cjkencodings", "migrations", "__pycache__", "unicode_codes"}
HELD_OUT_SHARE = 0.025
LONGEST_FILE = 120_000


def sha(text):
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def stdlib_files():
    root = pathlib.Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(root.rglob("*.py")):
        path = file.relative_to(root)
        source = "cpython-test" if {"test", "tests", "idle_test"} & set(path.parts) else "cpython"
        yield source, str(path), file.read_bytes()


def wheel_files(folder):
    for wheel in sorted(pathlib.Path(folder).glob("*.whl")):
        source = wheel.name.split("-")[0].lower().replace("_", "-")
        with zipfile.ZipFile(wheel) as archive:
            for path in sorted(archive.namelist()):
                if path.endswith(".py") and "test" not in pathlib.Path(path).parts:
                    yield source, path, archive.read(path)


def shorten_docstrings(text):
    """Cuts every docstring to its first line: the model has no room for prose, only for code."""
    lines = text.split("\n")
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [n.body[0] for n in ast.walk(ast.parse(text))
             if isinstance(n, owners) and n.body and isinstance(n.body[0], ast.Expr)
             and isinstance(n.body[0].value, ast.Constant) and isinstance(n.body[0].value.value, str)]
    for node in sorted(found, key=lambda n: -n.lineno):
        if node.end_lineno == node.lineno:
            continue
        first = next((s.strip() for s in node.value.value.split("\n") if s.strip()), "")
        first = first.replace("\\", "").replace('"', "'")[:90]
        lines[node.lineno - 1:node.end_lineno] = [" " * node.col_offset + f'"""{first}"""']
    return "\n".join(lines)


def clean(raw):
    """The document to train on, or None if the file is not ordinary hand-written Python."""
    try:
        text = raw.decode("utf-8").replace("\r\n", "\n")
        if len(text) > LONGEST_FILE or "\t" in text or "\r" in text or END in text:
            return None
        if re.search(r"generated (by|from)|do not edit", text[:600], re.I):
            return None
        short = shorten_docstrings(text)
        ast.parse(short)
    except (UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
        return None
    short = re.sub(r"\A(\s*#.*\n)+", "", short)  # licence headers
    short = re.sub(r"[ \t]+$", "", short, flags=re.M)
    short = re.sub(r"\n{4,}", "\n\n\n", short).strip("\n") + "\n"
    lines = short.split("\n")
    digits = sum(c.isdigit() for c in short)
    if len(short) < 200 or len(short) / len(lines) > 60 or digits > 0.12 * len(short):
        return None
    return short


def collect(args):
    seen, documents, table = set(), [], {}
    wheels = wheel_files(args.wheels) if args.wheels else ()
    for source, path, raw in [*stdlib_files(), *wheels]:
        if SKIPPED_FOLDERS & set(pathlib.Path(path).parts[:-1]) and source != "cpython-test":
            continue
        weight = WEIGHTS.get(source, 1)
        if weight < 1 and sha("keep" + path) > weight:
            continue
        text = clean(raw)
        if text is None:
            continue
        # A near copy of something already collected teaches nothing and would leak into the held-out files.
        marks = {hash(s) for s in map(str.strip, text.split("\n")) if len(s) > 24}
        if len(marks & seen) > 0.5 * len(marks):
            continue
        seen |= marks
        held_out = sha(source + "/" + path) < HELD_OUT_SHARE
        documents.append(dict(source=source, path=path, held_out=held_out, weight=max(1, int(weight)), text=text))
        count = table.setdefault(source, [0, 0])
        count[0] += 1
        count[1] += len(text.encode())
    with open(args.work / "corpus.jsonl", "w") as out:
        out.writelines(json.dumps(d) + "\n" for d in documents)
    for source, (files, size) in table.items():
        print(f"{source:20} {files:5} files {size:10} bytes")
    print(f"{'all':20} {len(documents):5} files {sum(t[1] for t in table.values()):10} bytes")


def read_corpus(work):
    with open(work / "corpus.jsonl") as file:
        return [json.loads(line) for line in file]


# -------------------------------------------------------------------------------- tokenizer


def make_tokenizer(args):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=args.vocab - (LONGEST_RUN - 1) - 1, show_progress=False, min_frequency=2,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    # The merges must see what they will see at work: the text between the runs of spaces.
    runs = re.compile(" {2,%d}" % LONGEST_RUN)
    pieces = (p for d in read_corpus(args.work) if not d["held_out"] for p in runs.split(d["text"]) if p)
    tokenizer.train_from_iterator(pieces, trainer)

    # As in CodeGen1, the end token is an entry of the BPE vocabulary too, the runs of spaces are not.
    spec = json.loads(tokenizer.to_str())
    spec["model"]["vocab"][END] = len(spec["model"]["vocab"])
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.add_special_tokens([AddedToken(END, special=True, normalized=False)])
    tokenizer.add_tokens([AddedToken(" " * n, special=False, normalized=True) for n in range(LONGEST_RUN, 1, -1)])
    assert tokenizer.get_vocab_size() == args.vocab, tokenizer.get_vocab_size()
    tokenizer.save(str(args.work / "tokenizer.json"))


def encode(work, held_out):
    """[tokens] uint16 of every document with its weight: [(tokens, weight, bytes)], each ending with END."""
    import numpy as np
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    documents = [d for d in read_corpus(work) if d["held_out"] == held_out]
    end = tokenizer.token_to_id(END)
    encoded = tokenizer.encode_batch([d["text"] for d in documents])
    return [(np.array(e.ids + [end], dtype=np.uint16), d["weight"], len(d["text"].encode()))
            for e, d in zip(encoded, documents)]


# ------------------------------------------------------------------------------------ train


def build_model(args):
    import torch
    from torch import nn
    from torch.nn import functional as F

    embd, heads, dim, rotary = args.embd, args.heads, args.embd // args.heads, args.rotary
    dtype = torch.bfloat16 if args.bf16 else torch.float32

    def rotate(x, turn):
        """x [batch, time, heads, dim]: GPT-J's interleaved pairs (x[2i], x[2i+1]) turned by pos * 10000^(-2i/R)."""
        first, rest = x.split([rotary, dim - rotary], -1)
        even, odd = first.unflatten(-1, (-1, 2)).unbind(-1)
        cos, sin = turn
        turned = torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)
        return torch.cat([turned, rest], -1)

    class HeadLoss(torch.autograd.Function):
        """Mean cross entropy of the head, its gradient made on the way: a chunk of logits never leaves the cache."""

        @staticmethod
        def forward(ctx, h, weight, bias, targets):
            w, h = weight.to(dtype), h.to(dtype)
            dh, dw, db, total = torch.empty_like(h), torch.zeros_like(weight), torch.zeros_like(bias), 0.0
            for i in range(0, len(h), 256):
                part, target = h[i:i + 256], targets[i:i + 256, None]
                p = (part @ w.T).float().add_(bias)
                top = p.amax(1, keepdim=True)
                picked = p.gather(1, target)
                sums = p.sub_(top).exp_().sum(1, keepdim=True)
                total += (sums.log() + top - picked).sum().item()
                p.div_(sums).scatter_add_(1, target, torch.full_like(picked, -1.0)).div_(len(h))
                db += p.sum(0)
                p = p.to(dtype)
                dh[i:i + 256] = p @ w
                dw += p.T @ part
            ctx.save_for_backward(dh.float(), dw, db)
            return torch.tensor(total / len(h))

        @staticmethod
        def backward(ctx, _):
            return *ctx.saved_tensors, None

    class Block(nn.Module):
        """x + attention(norm(x)) + mlp(norm(x)): one norm, both branches in parallel."""

        def __init__(self):
            super().__init__()
            self.ln_1 = nn.LayerNorm(embd, eps=1e-5)
            self.qkv = nn.Linear(embd, 3 * embd, bias=False)  # rows in plain order q, k, v; regrouped by export
            self.out = nn.Linear(embd, embd, bias=False)
            self.fc_in = nn.Linear(embd, 4 * embd)
            self.fc_out = nn.Linear(4 * embd, embd)

        def forward(self, x, turn):
            batch, steps, _ = x.shape
            h = self.ln_1(x).to(dtype)
            q, k, v = self.qkv(h).view(batch, steps, 3, heads, dim).unbind(2)
            q, k, v = (t.transpose(1, 2) for t in (rotate(q, turn), rotate(k, turn), v))
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            attended = self.out(attended.transpose(1, 2).reshape(batch, steps, embd))
            return attended + self.fc_out(F.gelu(self.fc_in(h), approximate="tanh")) + x

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte = nn.Embedding(args.vocab, embd)
            self.blocks = nn.ModuleList(Block() for _ in range(args.layers))
            self.ln_f = nn.LayerNorm(embd, eps=1e-5)
            self.lm_head = nn.Linear(embd, args.vocab)
            angle = torch.outer(torch.arange(args.context), 10000.0 ** (-torch.arange(0, rotary, 2) / rotary))
            turn = torch.stack([angle.cos(), angle.sin()])[:, None, :, None].to(dtype)  # [2, 1, time, 1, R/2]
            self.register_buffer("turn", turn, persistent=False)
            nn.init.normal_(self.wte.weight, std=0.5)
            nn.init.normal_(self.lm_head.weight, std=0.01)
            for block in self.blocks:
                nn.init.zeros_(block.out.weight)
                nn.init.zeros_(block.fc_out.weight)
            for name, parameter in self.named_parameters():
                if name.endswith("bias"):
                    nn.init.zeros_(parameter)

        def forward(self, tokens, targets):
            x = self.wte(tokens)
            for block in self.blocks:
                x = block(x, self.turn[:, :, : tokens.shape[1]])
            head = self.lm_head
            return HeadLoss.apply(self.ln_f(x).flatten(0, 1), head.weight, head.bias, targets.flatten())

    return Model()


def orthogonalise(g):
    """Newton-Schulz: g with its singular values pushed to about one (Muon, Jordan et al. 2024)."""
    x = g.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return (x.T if tall else x).float()


class Muon:
    """Momentum, then an orthogonal step; q, k and v count as three matrices."""

    def __init__(self, named, momentum=0.95):
        self.named, self.momentum = named, momentum
        self.velocity = [p.detach().clone().zero_() for _, p in named]

    def step(self, rate):
        for (name, p), v in zip(self.named, self.velocity):
            v.lerp_(p.grad, 1 - self.momentum)
            update = p.grad.lerp(v, self.momentum)
            for part, w in zip(update.chunk(3 if "qkv" in name else 1), p.data.chunk(3 if "qkv" in name else 1)):
                scale = max(1, part.shape[0] / part.shape[1]) ** 0.5
                w.mul_(1 - 0.05 * rate).add_(orthogonalise(part), alpha=-rate * scale)


class Clock:
    """Progress in [0, 1] from the time spent in steps, so that a paused process loses none of its schedule;
    the wall deadline wins if it comes first."""

    def __init__(self, args):
        self.active, self.budget = 0.0, args.minutes * 60
        self.start, self.deadline = time.time(), (args.deadline_minutes or 10 * args.minutes) * 60

    def add(self, seconds):
        self.active += min(seconds, 10.0)

    def progress(self):
        return min(1.0, max(self.active / self.budget, (time.time() - self.start) / self.deadline))


class Threads:
    """Two threads in lockstep are slower than one when somebody else has one of the cores: both are tried now and
    then, and the faster is kept until the next trial."""

    def __init__(self, most, every=24):
        self.most, self.every, self.seconds = most, every, {}

    def choose(self, step):
        trial = {0: 1, 1: self.most}.get(step % self.every)
        return trial or min(self.seconds, key=self.seconds.get, default=self.most)

    def measured(self, threads, seconds):
        self.seconds[threads] = seconds


def windows(documents, context, batch, seed):
    """Endless [batch, context + 1] windows of the packed stream; documents and windows are shuffled every epoch."""
    import numpy as np
    import torch

    random = np.random.default_rng(seed)
    repeated = [tokens for tokens, weight, _ in documents for _ in range(weight)]
    while True:
        stream = np.concatenate([repeated[i] for i in random.permutation(len(repeated))])
        starts = np.arange(random.integers(context), len(stream) - context - 1, context)
        random.shuffle(starts)
        for i in range(0, len(starts) - batch + 1, batch):
            rows = np.stack([stream[s:s + context + 1] for s in starts[i:i + batch]]).astype(np.int64)
            yield torch.from_numpy(rows)


def held_out_loss(model, rows, dtype):
    import torch

    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype is torch.bfloat16):
        losses = [model(r[:, :-1], r[:, 1:]).item() for r in rows]
    return sum(losses) / len(losses)


def train(args):
    import itertools
    import torch

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    threads = Threads(args.threads)
    dtype = torch.bfloat16 if args.bf16 else torch.float32
    documents = encode(args.work, held_out=False)
    print(f"{sum(len(d[0]) for d in documents)} tokens, {sum(len(d[0]) * d[1] for d in documents)} with repeats",
          flush=True)
    check = list(itertools.islice(windows(encode(args.work, held_out=True), args.context, args.batch, 1), 12))
    model = build_model(args)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)

    matrices = [(n, p) for n, p in model.named_parameters() if p.ndim == 2 and n.startswith("blocks")]
    others = [p for n, p in model.named_parameters() if p.ndim == 1 or not n.startswith("blocks")]
    muon = Muon(matrices)
    adam = torch.optim.AdamW(others, lr=1.0, betas=(0.9, 0.95), weight_decay=0.0, fused=True)

    clock, done = Clock(args), dict(steps=0, tokens=0)
    if args.resume:  # weights and clock only: the optimisers find their momentum again within some steps
        before = torch.load(args.work / "checkpoint.pt")
        model.load_state_dict(before["model"])
        done.update({k: before["facts"][k] for k in done})
        clock.active = before["facts"]["active_seconds"]
    begun, warm_up = done["steps"], 20 if args.resume else 100
    saved, smooth = time.time(), None
    short = windows(documents, args.context // 2, args.batch * 2, args.seed + begun)  # attention costs half
    full = windows(documents, args.context, args.batch, args.seed + begun + 1)
    while (progress := clock.progress()) < 1:
        rows = next(short if progress < 0.6 else full)
        began = time.time()
        torch.set_num_threads(threads.choose(done["steps"]))
        # Warm up, hold for a quarter of the time, then straight to zero.
        rate = min(1.0, (done["steps"] - begun + 1) / warm_up) * min(1.0, 1.3 * (1 - progress))
        with torch.autocast("cpu", dtype, enabled=args.bf16):
            loss = model(rows[:, :-1], rows[:, 1:])
        loss.backward()
        muon.step(args.muon_rate * rate)
        adam.param_groups[0]["lr"] = args.adam_rate * rate
        adam.step()
        model.zero_grad(set_to_none=True)
        done["steps"] += 1
        done["tokens"] += rows[:, 1:].numel()
        smooth = loss.item() if smooth is None else 0.97 * smooth + 0.03 * loss.item()
        clock.add(time.time() - began)
        threads.measured(torch.get_num_threads(), time.time() - began)
        if done["steps"] % 50 == 0:
            print(f"step {done['steps']} tokens {done['tokens']} progress {progress:.3f} loss {smooth:.4f} "
                  f"{done['tokens'] / clock.active:.0f} tokens/s, last step by threads {threads.seconds}", flush=True)
        if time.time() - saved > 240:
            saved = time.time()
            print(f"  held-out {held_out_loss(model, check[:4], dtype):.4f}", flush=True)
            save(args, model, done, clock)
    print(f"  held-out {held_out_loss(model, check, dtype):.4f} at the end", flush=True)
    save(args, model, done, clock)


def save(args, model, done, clock):
    import torch

    facts = dict(done, active_seconds=round(clock.active), wall_seconds=round(time.time() - clock.start))
    shape = dict(vocab=args.vocab, context=args.context, embd=args.embd, layers=args.layers, heads=args.heads,
                 rotary=args.rotary)
    torch.save(dict(model=model.state_dict(), shape=shape, facts=facts), args.work / "checkpoint.new")
    (args.work / "checkpoint.new").replace(args.work / "checkpoint.pt")


# ----------------------------------------------------------------------------------- export


def regroup(qkv, heads):
    """[3 (q,k,v), H, D, E] -> rows in CodeGen1's order [G, 3 (q,v,k), H/G, D, E]."""
    rows, embd = qkv.shape
    q, k, v = qkv.view(3, QKV_GROUPS, heads // QKV_GROUPS, rows // 3 // heads, embd)
    import torch

    return torch.stack([q, v, k], 1).reshape(rows, embd)


def export(args):
    import shutil
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer

    saved = torch.load(args.work / "checkpoint.pt", map_location="cpu")
    shape, tensors = saved["shape"], {}
    for name, t in saved["model"].items():
        name = name if name.startswith("lm_head") else "transformer." + name
        name = name.replace("blocks.", "h.").replace(".qkv.", ".attn.qkv_proj.").replace(".out.", ".attn.out_proj.")
        name = re.sub(r"\.(fc_in|fc_out)\.", r".mlp.\1.", name)
        t = regroup(t, shape["heads"]) if "qkv_proj" in name else t
        tensors[name] = t.half().contiguous()
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, str(args.out / "model.safetensors"), metadata={"format": "pt"})
    (args.out / "model.safetensors").chmod(0o644)
    shutil.copyfile(args.work / "tokenizer.json", args.out / "tokenizer.json")
    end = Tokenizer.from_file(str(args.out / "tokenizer.json")).token_to_id(END)
    config = dict(
        activation_function="gelu_new", architectures=["CodeGenForCausalLM"], attn_pdrop=0.0, bos_token_id=end,
        embd_pdrop=0.0, eos_token_id=end, initializer_range=0.02, layer_norm_epsilon=1e-5, model_type="codegen",
        n_ctx=shape["context"], n_embd=shape["embd"], n_head=shape["heads"], n_inner=None, n_layer=shape["layers"],
        n_positions=shape["context"], resid_pdrop=0.0, rotary_dim=shape["rotary"], scale_attn_weights=True,
        tie_word_embeddings=False, tokenizer_class="CodeGenTokenizer", torch_dtype="float16", use_cache=True,
        vocab_size=shape["vocab"])
    (args.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    print(json.dumps(saved["facts"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stage", choices=["collect", "tokenizer", "train", "export", "all"])
    parser.add_argument("--work", type=pathlib.Path, required=True, help="scratch folder")
    parser.add_argument("--wheels", type=pathlib.Path, help="folder with the wheels of corpus.txt")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "codegen-tiny-python")
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--embd", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--rotary", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8, help="windows a step")
    parser.add_argument("--muon-rate", type=float, default=0.02)
    parser.add_argument("--adam-rate", type=float, default=0.004)
    parser.add_argument("--minutes", type=float, default=75, help="time in steps, pauses not counted")
    parser.add_argument("--deadline-minutes", type=float, help="wall time after which the schedule is over anyhow")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="autocast; pays on CPUs with bf16 dot products")
    parser.add_argument("--resume", action="store_true", help="go on from checkpoint.pt")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    stages = dict(collect=collect, tokenizer=make_tokenizer, train=train, export=export)
    for stage in stages if args.stage == "all" else [args.stage]:
        stages[stage](args)


if __name__ == "__main__":
    main()
