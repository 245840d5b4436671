# SPDX-License-Identifier: Apache-2.0
"""A Hugging Face folder of random weights, which transformers runs and CTranslate2 converts."""

import json
import os

import torch
import transformers
from tokenizers import Tokenizer, models

# Speed does not depend on the tokenizer, but CTranslate2 takes its tokens as words.
TOKEN = "t{}".format


def write_tokenizer(vocabulary, folder):
    words = {TOKEN(i): i for i in range(vocabulary)}
    Tokenizer(models.WordLevel(words, unk_token=TOKEN(0))).save(
        os.path.join(folder, "tokenizer.json")
    )
    special = {name: TOKEN(vocabulary - 1) for name in ("bos_token", "eos_token", "unk_token")}
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast", **special}, file)


def write(shape, folder):
    """Writes `folder`/hf, in bfloat16, unless it is there; returns its path."""
    path = os.path.join(folder, "hf")
    if os.path.exists(os.path.join(path, "tokenizer_config.json")):
        return path
    torch.manual_seed(1)
    fields = {name: value for name, value in shape.config.items() if name != "model_type"}
    config = transformers.AutoConfig.for_model(shape.family, tie_word_embeddings=False, **fields)
    transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(
        path
    )
    write_tokenizer(shape.vocabulary, path)  # last: its presence says that the folder is whole
    return path
