# SPDX-License-Identifier: Apache-2.0
"""transformers on PyTorch: the model's own forward with its cache, eager."""

import torch
import transformers

import common
import hf_folder


def prepare(shape, folder, weights):
    hf_folder.write(shape, folder)


class Engine:
    def __init__(self, shape, folder, weights, threads, sequences, tokens):
        torch.set_num_threads(threads)
        dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[weights]
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            hf_folder.write(shape, folder), dtype=dtype
        )
        self.model.eval()
        self.shape, self.sequences = shape, sequences
        self.prefill_ways = [self.prefill]
        self.version = f"{transformers.__version__}, torch {torch.__version__}"
        read = (
            p for p in self.model.parameters() if p is not self.model.get_input_embeddings().weight
        )
        self.weight_bytes = sum(p.numel() * p.element_size() for p in read)
        self.cache_bytes = shape.cache_bytes(dtype.itemsize)
        self.note = ""

    @torch.inference_mode()
    def prefill(self, tokens):
        prompts = [self.shape.prompt(tokens, s) for s in range(self.sequences)]
        return self.model(torch.tensor(prompts), use_cache=True, logits_to_keep=1).past_key_values

    @torch.inference_mode()
    def decode(self, context, new_tokens):
        cache = self.prefill(context)
        step = torch.arange(self.sequences).reshape(-1, 1)
        return [
            common.seconds(lambda: self.model(step + i, past_key_values=cache, use_cache=True))
            for i in range(new_tokens)
        ]


if __name__ == "__main__":
    common.main(prepare, Engine)
