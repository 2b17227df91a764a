#!/usr/bin/env python3
"""Puts well-formed files into a folder, from which a fuzzer starts: fuzz_seeds.py TARGET FOLDER."""

import io
import json
import pathlib
import shutil
import struct
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
LARGEST = 256 * 1024  # fuzzers learn little from large files

SEEDS = {
    "safetensors": ["golden/data/**/inputs.safetensors", "golden/data/**/expected.safetensors"],
    "pickle": ["data/checkpoint/*"],
    "config": ["golden/data/**/*config.json", "../models/default/*.json"],
    "tokenizer": ["golden/data/E_original/*/generate.json", "../models/default/vocab.txt"],
    "metrics": ["data/metrics/captions.json", "data/metrics/README.md"],
    "image": ["golden/data/B_image/*/input.*", "../models/default/samples/*.png"],
}


def tokenizer_json() -> dict[str, str]:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "caf\u00e9", "!"]
    vocab = {token: number for number, token in enumerate(tokens)}
    added = [{"id": number, "content": token, "special": True, "normalized": False}
             for number, token in enumerate(tokens[:5])]
    model = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
             "max_input_chars_per_word": 100, "vocab": vocab}
    whole = {"version": "1.0", "added_tokens": added,
             "normalizer": {"type": "BertNormalizer", "lowercase": True}, "model": model}
    shuffled = whole | {"model": model | {"vocab": dict(sorted(vocab.items()))}}
    later = whole | {"added_tokens": added + [{"id": len(tokens), "content": "[DEC]"}]}
    return {"whole": json.dumps(whole), "escaped": json.dumps(shuffled, ensure_ascii=True),
            "indented": json.dumps(later, ensure_ascii=False, indent=1)}


def request() -> dict[str, bytes]:
    field = b'--x\r\nContent-Disposition: form-data; name="texts"\r\n\r\na b\r\n'
    file = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n'
    return {"form": b"multipart/form-data; boundary=x\n\n" + field + field + file + b"--x--\r\n",
            "json": b'application/json\n\n{"image": "data:image/png;base64,Zm9v", "texts": ["a", "b"], "num_beams": 3, "flag": true}',
            "raw": b"image/png\ntext=a%20b&integer=3&number=0.5&top_p=0.9\n\x89PNG",
            "urlencoded": b"application/x-www-form-urlencoded\n\nimage=Zm9v&text=a+b&flag=1"}


def mcp() -> dict[str, str]:
    """Lines of headers (version, method, tool), then a message."""
    def message(method: str, params: dict, **more) -> dict:
        return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params} | more

    picture = {"image": "data:image/png;base64,Zm9v"}
    modern = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}
    call = message("tools/call", {"name": "ask", "arguments": picture | {"questions": ["what?"]}, "_meta": {"progressToken": "t"}})
    seeds = {"initialize": ("", "", "", message("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}})),
             "list": ("2025-11-25", "", "", message("tools/list", {})), "call": ("2025-06-18", "", "", call),
             "modern": ("2026-07-28", "tools/call", "caption", message("tools/call", modern | {"name": "caption", "arguments": picture})),
             "discover": ("2026-07-28", "server/discover", "", message("server/discover", modern)),
             "batch": ("2025-03-26", "", "", [call, message("ping", {}), {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}]),
             "match": ("", "", "", message("tools/call", {"name": "match", "arguments": picture | {"texts": ["a", "b"]}})),
             "describe": ("", "", "", message("tools/call", {"name": "describe", "arguments": picture | {"detail": "low"}}))}
    return {name: "\n".join([*lines, json.dumps(text)]) for name, (*lines, text) in seeds.items()}


def authors_config() -> dict[str, str]:
    """The tensors that tell a model's kind and sizes, for each kind."""
    vision = {"vision_model.embeddings.class_embedding": [1, 1, 32],
              "vision_model.embeddings.position_embedding": [1, 10, 32],
              "vision_model.embeddings.patch_embedding.weight": [32, 3, 16, 16],
              "vision_model.encoder.layers.0.layer_norm1.weight": [32],
              "vision_model.encoder.layers.1.layer_norm1.weight": [32],
              "vision_model.encoder.layers.0.mlp.fc1.weight": [128, 32]}

    def text(prefix: str, attention: str = "self") -> dict[str, list[int]]:
        layer = prefix + "encoder.layer.0."
        return {prefix + "embeddings.word_embeddings.weight": [30524, 12],
                prefix + "embeddings.position_embeddings.weight": [512, 12],
                layer + "attention.self.query.weight": [12, 12],
                layer + f"crossattention.{attention}.key.weight": [12, 32],
                layer + "intermediate.dense.weight": [48, 12]}

    encoder, decoder = text("text_encoder."), text("text_decoder.bert.")
    scores = {"vision_proj.weight": [20, 32], "itm_head.weight": [2, 12]}
    kinds = {"captioning": vision | decoder, "vqa": vision | encoder | decoder,
             "retrieval": vision | encoder | scores, "nlvr": vision | text("text_encoder.", "self0"),
             "pretrain": vision | encoder | decoder | scores, "blip2": {"query_tokens": [1, 32, 768]}}
    return {kind: json.dumps({"tensors": tensors, "med_config": {"num_attention_heads": 3},
                              "vision_heads": 4}) for kind, tensors in kinds.items()}


def index() -> dict[str, bytes]:
    """The files of an index of six rows; the first byte says which it is."""
    part = {"bytes": 24, "checksum": "0123456789abcdef"}
    manifest = {"format": "blip index", "version": 1, "kind": "hnsw", "content": "images", "width": 4,
                "model": "0", "preprocessing": {}, "opened_with": {}, "generation": 1, "row_files": 1,
                "count": 6, "removed_count": 1, "effort": 16, "recall": 1, "removed": part, "structure": part,
                "codes": part, "sketches": part}
    places = [1] * 5 + [2]  # levels; a row has 64 links on the first, 32 on others
    links = [(i + 1) % 6 if i % 64 == 0 else -1 for i in range(6 * 64)] + [-1] * 32
    graph = struct.pack("<8s2IQ2iQ", b"BLIPHNSW", 1, 32, 6, 5, 1, len(links)) + bytes(places)
    lists = struct.pack("<8s2I3Q", b"BLIPLIST", 1, 4, 2, 6, 6) + struct.pack("<8f2I6I", *[0.5] * 8, 4, 2, *range(6))
    return {"manifest": b"\0" + json.dumps(manifest).encode(),
            "graph": b"\1" + graph + struct.pack(f"<{len(links)}i", *links),
            "lists": b"\2" + lists.ljust(128, b"\0") + struct.pack("<24f", *[0.5] * 24),
            "codes": b"\3" + bytes(6 * 4) + struct.pack("<6f", *[0.01] * 6),
            "sketches": b"\4" + bytes(range(64)),
            "rows": b"\5" + bytes(3 * 96)}


def dataset() -> dict[str, str | bytes]:
    """A file of each kind; the first byte says which it is."""
    coco = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": "a cat"}]}
    karpathy = {"images": [{"filepath": "val", "filename": "a.jpg", "split": "test", "cocoid": 1, "sentences": [{"raw": "a cat"}]}]}
    vqa = {"questions": [{"question_id": 1, "image_id": 1, "question": "what?"}]}
    authors_vqa = [{"question_id": 1, "question": "what?", "image": "a.jpg", "answer": ["yes"], "dataset": "vqa"}]
    nlvr = {"sentence": "two cats", "identifier": "dev-1-0-0", "label": "True", "left_url": "l", "right_url": "r"}
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as shard:
        for name in ("0.jpg", "0.txt", "1.jpg", "1.json"):
            shard.addfile(tarfile.TarInfo(name))
    lines = [{"image": "a.jpg", "caption": ["a cat"]}, {"file_name": "b.jpg", "text": "a dog"}]
    questions = [{"image": "a.jpg", "question": "what?", "answer": ["a cat", "a dog"]}]
    return {"tar": b"\6" + tar.getvalue(), "lines": "\7" + "\n".join(map(json.dumps, lines)),
            "question_lines": "\7" + "\n".join(map(json.dumps, questions)), "coco": "\0" + json.dumps(coco), "karpathy": "\0" + json.dumps(karpathy), "vqa": "\1" + json.dumps(vqa),
            "authors_vqa": "\1" + json.dumps(authors_vqa), "nlvr": "\2" + json.dumps(nlvr) + "\n",
            "captions": "\3" + json.dumps([{"image_id": 1, "caption": "a cat"}]),
            "pair_lines": "\x08" + "\n".join(json.dumps(row | {"human": True}) for row in lines), "pair_tar": b"\x0b" + tar.getvalue(),
            "list_lines": "\x09" + "\n".join(map(json.dumps, lines)), "list_csv": '\x0afile_name,text\r\na.jpg,"a ""cat"", two"\r\n',
            "answers": "\4" + json.dumps([{"question_id": 1, "answer": "yes"}]), "labels": "\5dev-1-0-0,True\n"}


def capfilt() -> dict[str, str]:
    """A record's provenance, and statistics."""
    texts = [{"text": "a cat", "origin": "web", "itm": 0.25, "itc": -0.5, "truncated": True, "kept": False, "reason": "itm"},
             {"text": "a dog", "origin": "synthetic", "itm": 0.75, "itc": None, "kept": True}]
    counts = {"count": 1, "kept": 0, "truncated": 1, "reasons": {"itm": 1}, "itm": [0] * 20, "itc": [0] * 20}
    statistics = {"records": {"in": 2, "kept": 1, "dropped": 0, "failed": 1, "human": 0}, "texts": {"web": counts, "synthetic": counts}, "errors": {"io": 1}}
    return {"record": json.dumps({"key": "a.jpg", "status": "kept", "human": True, "texts": texts}), "statistics": json.dumps(statistics),
            "failed": json.dumps({"key": "a.jpg", "texts": [], "error": {"code": "bad_image", "message": "broken"}})}


def description() -> dict[str, str]:
    """A line of options of a recipe, then what the model says."""
    said = ["a photography of a dog on a beach with many people", "Add more specific visual details to this description : two dogs",
            "arafed dog dog.", "", "\u00e9t\u00e9 : \u4e00\u53ea\u72d7"]
    options = [{}, {"describe": {"prompts": ["a", "{current} and"], "num_beams": 2, "early_stopping": "never"}, "rounds.high": 9},
               {"prompts": "there is", "samples": {"top_p": 0.5}, "least_share": 0, "sentences": {"high": 2}},
               {"keep_over_characters": 0, "extend_under_words": 99, "extend_prompts_under_words": 99, "refine_over_words": 0}]
    return {str(i): "\n".join([json.dumps(o), *said]) for i, o in enumerate(options)}


WRITTEN = {"capfilt": capfilt, "request": request, "mcp": mcp, "dataset": dataset, "description": description, "tokenizer_json": tokenizer_json, "authors_config": authors_config, "index": index}


def main() -> int:
    target, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    for name, text in WRITTEN[target]().items() if target in WRITTEN else ():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    for pattern in SEEDS.get(target, ()):
        base = TESTS
        while pattern.startswith("../"):
            base, pattern = base.parent, pattern[3:]
        for number, file in enumerate(sorted(base.glob(pattern))):
            if file.is_file() and file.stat().st_size <= LARGEST:
                shutil.copy(file, folder / f"{file.parent.name}-{number}-{file.name}")
    return 0 if any(folder.iterdir()) else 1


if __name__ == "__main__":
    sys.exit(main())
