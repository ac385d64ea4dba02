"""Writes use-lite.ids.gz: what Google's SentencePiece makes of the hard lines.

    pip install sentencepiece==0.2.3 protobuf
    node test/data/tokenizer/hard-lines.ts > lines.json
    python3 test/data/tokenizer/make-goldens.py lines.json vocabulary.json

vocabulary.json is the mended one of a prepared model folder. The npm package ships pieces and scores but no .model
file, so an equivalent one is built: unigram, rule nmt_nfkc (taken from a throw-away model that is trained first),
whitespace collapsed, dummy prefix. Format: for each line its number of ids and the ids, as little-endian uint16.
"""
import gzip, io, json, pathlib, struct, sys
import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as pb

lines, pieces = (json.loads(pathlib.Path(path).read_text("utf8")) for path in sys.argv[1:3])
trained = io.BytesIO()
spm.SentencePieceTrainer.train(sentence_iterator=iter(["a b c d e f"] * 20), model_writer=trained, vocab_size=20,
                               hard_vocab_limit=False, normalization_rule_name="nmt_nfkc", minloglevel=2)
model = pb.ModelProto.FromString(trained.getvalue())
del model.pieces[:]
for number, (text, score) in enumerate(pieces):
    kind = pb.ModelProto.SentencePiece.UNKNOWN if number == 0 else pb.ModelProto.SentencePiece.CONTROL if number < 6 else pb.ModelProto.SentencePiece.NORMAL
    model.pieces.add(piece=text, score=score, type=kind)
model.trainer_spec.vocab_size = len(pieces)
processor = spm.SentencePieceProcessor(model_proto=model.SerializeToString())
out = b"".join(struct.pack(f"<H{len(ids)}H", len(ids), *ids) for ids in map(processor.encode, lines))
target = pathlib.Path(__file__).with_name("use-lite.ids.gz")
target.write_bytes(gzip.compress(out, 9, mtime=0))
print(len(lines), "lines", target.stat().st_size, "bytes")
