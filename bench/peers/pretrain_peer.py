#!/usr/bin/env python3
"""BLIP's pre-training step in PyTorch, as the authors' loop has it: pretrain_peer.py SHAPE(JSON) ANNOTATIONS STEPS

Own writing of the model of their section 3.2: ITC with momentum copies and queues, ITM with hard negatives, LM with
label smoothing; attention by plain products, data by a DataLoader with worker processes. Prints a line of JSON:
seconds of each step, data included, and the last loss."""

import copy
import json
import pathlib
import sys
import time

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Pictures(torch.utils.data.Dataset):
    """Random resized crop (bicubic) and flip, as the authors train; RandAugment is left to their own code."""

    def __init__(self, annotations: str, size: int):
        self.rows = json.loads(pathlib.Path(annotations).read_text())
        self.folder = pathlib.Path(annotations).parent
        self.size = size

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        image = Image.open(self.folder / self.rows[index]["image"]).convert("RGB")
        share = float(torch.empty(1).uniform_(0.2, 1)) ** 0.5
        width, height = max(1, int(image.width * share)), max(1, int(image.height * share))
        left = int(torch.randint(image.width - width + 1, (1,)))
        top = int(torch.randint(image.height - height + 1, (1,)))
        image = image.resize((self.size, self.size), Image.BICUBIC, (left, top, left + width, top + height))
        if torch.rand(1) < 0.5:
            image = image.transpose(Image.FLIP_LEFT_RIGHT)
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(self.size, self.size, 3).permute(2, 0, 1)
        pixels = (pixels / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
        return pixels, self.rows[index]["caption"]


class VisionAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, c))


class VisionBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, 1e-6), VisionAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, 1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, s):
        super().__init__()
        width = s["vision_width"]
        self.patch = nn.Conv2d(3, width, s["patch_size"], s["patch_size"])
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.pos = nn.Parameter(torch.randn(1, (s["image_size"] // s["patch_size"]) ** 2 + 1, width) * 0.02)
        self.blocks = nn.ModuleList(VisionBlock(width, s["vision_heads"]) for _ in range(s["vision_layers"]))
        self.norm = nn.LayerNorm(width, 1e-6)

    def forward(self, pixels):
        x = self.patch(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class TextAttention(nn.Module):
    def __init__(self, s, source_width):
        super().__init__()
        width = s["text_width"]
        self.heads = s["text_heads"]
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(source_width, width), nn.Linear(source_width, width)
        self.dense, self.norm, self.dropout = nn.Linear(width, width), nn.LayerNorm(width, 1e-12), nn.Dropout(s["dropout"])

    def forward(self, x, source, mask):
        def heads(t):
            return t.view(t.shape[0], t.shape[1], self.heads, -1).permute(0, 2, 1, 3)
        q, k, v = heads(self.query(x)), heads(self.key(source)), heads(self.value(source))
        scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if mask is not None:
            scores = scores + mask
        context = (self.dropout(scores.softmax(-1)) @ v).permute(0, 2, 1, 3).reshape(x.shape)
        return self.norm(self.dropout(self.dense(context)) + x)


class TextLayer(nn.Module):
    def __init__(self, s):
        super().__init__()
        width = s["text_width"]
        self.attention, self.crossattention = TextAttention(s, width), TextAttention(s, s["vision_width"])
        self.intermediate, self.output = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm, self.dropout = nn.LayerNorm(width, 1e-12), nn.Dropout(s["dropout"])

    def forward(self, x, mask, image_embeds, attention):
        x = attention(x, x, mask)
        if image_embeds is not None:
            x = self.crossattention(x, image_embeds, None)
        return self.norm(self.dropout(self.output(F.gelu(self.intermediate(x)))) + x)


class Bert(nn.Module):
    def __init__(self, s, vocabulary):
        super().__init__()
        width = s["text_width"]
        self.words, self.positions = nn.Embedding(vocabulary, width, padding_idx=0), nn.Embedding(512, width)
        self.norm, self.dropout = nn.LayerNorm(width, 1e-12), nn.Dropout(s["dropout"])
        self.layers = nn.ModuleList(TextLayer(s) for _ in range(s["text_layers"]))

    def forward(self, ids, mask, image_embeds=None, causal=None):
        """causal: the decoder's self-attentions, one for each layer."""
        seen = mask[:, None, None, :].float()
        if causal is not None:
            seen = seen * torch.tril(torch.ones(ids.shape[1], ids.shape[1]))
        x = self.dropout(self.norm(self.words(ids) + self.positions(torch.arange(ids.shape[1]))))
        for i, layer in enumerate(self.layers):
            x = layer(x, (1 - seen) * -10000.0, image_embeds, layer.attention if causal is None else causal[i])
        return x


class Pretrain(nn.Module):
    def __init__(self, s, vocabulary):
        super().__init__()
        width, projection = s["text_width"], s["projection"]
        self.dec, self.enc = vocabulary - 2, vocabulary - 1
        self.visual_encoder, self.text_encoder = VisionTransformer(s), Bert(s, vocabulary)
        self.causal = nn.ModuleList(TextAttention(s, width) for _ in range(s["text_layers"]))
        self.vision_proj, self.text_proj = nn.Linear(s["vision_width"], projection), nn.Linear(width, projection)
        self.itm_head = nn.Linear(width, 2)
        self.transform, self.transform_norm = nn.Linear(width, width), nn.LayerNorm(width, 1e-12)
        self.bias, self.temp = nn.Parameter(torch.zeros(vocabulary)), nn.Parameter(torch.tensor(0.07))
        self.learning = [self.visual_encoder, self.vision_proj, self.text_encoder, self.text_proj]
        self.momentum = nn.ModuleList(copy.deepcopy(m) for m in self.learning).requires_grad_(False)
        self.image_queue = F.normalize(torch.randn(projection, s["queue_size"]), dim=0)
        self.text_queue = F.normalize(torch.randn(projection, s["queue_size"]), dim=0)
        self.place = 0

    @torch.no_grad()
    def targets(self, pixels, ids, mask, alpha):
        for model, kept in zip(self.learning, self.momentum):
            for new, old in zip(model.parameters(), kept.parameters()):
                old.data = old.data * 0.995 + new.data * 0.005
        image = F.normalize(self.momentum[1](self.momentum[0](pixels)[:, 0]), dim=-1)
        text = F.normalize(self.momentum[3](self.momentum[2](ids, mask)[:, 0]), dim=-1)
        images, texts = torch.cat([image.t(), self.image_queue], 1), torch.cat([text.t(), self.text_queue], 1)
        own = torch.zeros(len(ids), images.shape[1]).fill_diagonal_(1)
        soft = [alpha * (a @ b / self.temp).softmax(1) + (1 - alpha) * own for a, b in ((image, texts), (text, images))]
        b, at = len(ids), self.place
        self.image_queue[:, at : at + b], self.text_queue[:, at : at + b] = image.t(), text.t()
        self.place = (at + b) % self.image_queue.shape[1]
        return images, texts, soft

    def forward(self, pixels, ids, mask, alpha):
        with torch.no_grad():
            self.temp.clamp_(0.001, 0.5)
        b = len(ids)
        image_embeds = self.visual_encoder(pixels)
        image_feat = F.normalize(self.vision_proj(image_embeds[:, 0]), dim=-1)
        text_feat = F.normalize(self.text_proj(self.text_encoder(ids, mask)[:, 0]), dim=-1)
        images, texts, soft = self.targets(pixels, ids, mask, alpha)
        i2t, t2i = image_feat @ texts / self.temp, text_feat @ images / self.temp
        ita = -sum((F.log_softmax(sim, 1) * to).sum(1).mean() for sim, to in ((i2t, soft[0]), (t2i, soft[1]))) / 2

        with torch.no_grad():
            weights = [sim[:, :b].softmax(1).add(1e-4).fill_diagonal_(0) for sim in (t2i, i2t)]
            other_image, other_text = (torch.multinomial(w, 1)[:, 0] for w in weights)
        encoder_ids = ids.clone()
        encoder_ids[:, 0] = self.enc
        positive = self.text_encoder(encoder_ids, mask, image_embeds)
        negative = self.text_encoder(torch.cat([encoder_ids, encoder_ids[other_text]]), torch.cat([mask, mask[other_text]]),
                                     torch.cat([image_embeds[other_image], image_embeds]))
        matches = torch.cat([torch.ones(b), torch.zeros(2 * b)]).long()
        itm = F.cross_entropy(self.itm_head(torch.cat([positive[:, 0], negative[:, 0]])), matches)

        decoder_ids = ids.clone()
        decoder_ids[:, 0] = self.dec
        hidden = self.text_encoder(decoder_ids, mask, image_embeds, self.causal)
        logits = F.linear(self.transform_norm(F.gelu(self.transform(hidden))), self.text_encoder.words.weight, self.bias)
        wanted = decoder_ids.masked_fill(mask == 0, -100)
        lm = F.cross_entropy(logits[:, :-1].reshape(-1, len(self.bias)), wanted[:, 1:].reshape(-1), label_smoothing=0.1)
        return ita + itm + lm


def main() -> None:
    shape, annotations, steps = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    from transformers import BertTokenizer

    torch.manual_seed(0)
    tokenizer = BertTokenizer(shape["vocabulary"])
    model = Pretrain(shape, len(tokenizer) + 2).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.05)
    loader = torch.utils.data.DataLoader(Pictures(annotations, shape["image_size"]), shape["batch_size"], shuffle=True, num_workers=2, drop_last=True)
    seconds, loss = [], None
    start = time.perf_counter()
    while len(seconds) < steps:
        for pixels, captions in loader:
            text = tokenizer(list(captions), padding="max_length", truncation=True, max_length=30, return_tensors="pt")
            loss = model(pixels, text.input_ids, text.attention_mask, 0.4)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
            if len(seconds) == steps:
                break
    print(json.dumps({"seconds": seconds, "loss": loss.item()}))


if __name__ == "__main__":
    main()
