"""Encoders of a few thousand weights on disk, as Hugging Face lays them out: milliseconds where MiniLM takes seconds.

Their weights are random, so their vectors mean nothing, but equal words give equal vectors.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    BertTokenizer,
    DistilBertConfig,
    DistilBertModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

WIDTH = 160
"""Wider than VECTOR_SIZE, so that the projection has something to leave out."""
_SHAPE: dict[str, Any] = {
    "hidden_size": WIDTH,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
}


def _bert(size: int, layers: int) -> torch.nn.Module:
    return BertModel(BertConfig(vocab_size=size, num_hidden_layers=layers, **_SHAPE))


def _distilbert(size: int, layers: int) -> torch.nn.Module:
    shape: dict[str, Any] = {
        "dim": WIDTH,
        "n_heads": 4,
        "hidden_dim": 64,
        "max_position_embeddings": 64,
        "initializer_range": 0.2,
    }
    return DistilBertModel(DistilBertConfig(vocab_size=size, n_layers=layers, **shape))


def _xlm_roberta(size: int, layers: int) -> torch.nn.Module:
    return XLMRobertaModel(XLMRobertaConfig(vocab_size=size, num_hidden_layers=layers, pad_token_id=0, **_SHAPE))


def _mpnet(size: int, layers: int) -> torch.nn.Module:
    return MPNetModel(MPNetConfig(vocab_size=size, num_hidden_layers=layers, pad_token_id=0, **_SHAPE))


def _albert(size: int, layers: int) -> torch.nn.Module:
    return AlbertModel(AlbertConfig(vocab_size=size, num_hidden_layers=layers, embedding_size=32, **_SHAPE))


FAMILIES: Mapping[str, Callable[[int, int], torch.nn.Module]] = {
    "bert": _bert,
    "distilbert": _distilbert,
    "xlm-roberta": _xlm_roberta,
    "mpnet": _mpnet,
    "albert": _albert,
}
"""Family → model of so many words and layers."""


def write_tiny_encoder(folder: Path, words: Iterable[str], layers: int = 2, seed: int = 0, family: str = "bert") -> str:
    """Write model and tokeniser; words other than these become one and the same token.

    Returns:
        The folder as `TextTowerConfig.encoder` wants it.
    """
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(set(words))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - a token of text
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)  # type: ignore[no-untyped-call]
    fast.save_pretrained(folder)
    _write_model(folder, family, len(vocabulary), layers, seed)
    return str(folder)


def write_chinese_encoder(folder: Path, texts: Iterable[str], seed: int = 0) -> str:
    """The same with the tokeniser of Chinese BERTs, which makes every Chinese character a token of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    characters = sorted({character for text in texts for character in text if not character.isspace()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    _write_model(folder, "bert", len(vocabulary), 2, seed)
    return str(folder)


def _write_model(folder: Path, family: str, size: int, layers: int, seed: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        FAMILIES[family](size, layers).save_pretrained(folder)  # type: ignore[operator]
