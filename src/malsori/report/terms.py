"""Korean words for what diagrams name; a name that is not here stays as the code has it."""

KOREAN = {
    "how the losses are combined": "손실이 합쳐지는 길",
    "turn": "차례",
    "loss": "손실",
    "weight": "가중치",
    "share": "비중",
    "reaches": "기울기가 닿는 곳",
    "total": "합계",
    "of": "대상:",
    "of the recording": "실제 녹음",
    "against": "정답:",
    "peak": "최대",
    "steps": "갱신",
    "cosine": "코사인",
    "exponential": "지수 감소",
    "inverse_sqrt": "역제곱근",
    "constant": "일정",
    "frozen": "이 차례에는 갱신하지 않음",
    "no gradient": "기울기 없음",
    "the loss's gradient reaches the module": "그 색 손실의 기울기가 닿음",
    "gradient norm of the weighted loss in the module": "가중 손실의 기울기 크기",
    "a gradient comes back": "기울기가 돌아옴",
    "cut: detach or no_grad": "끊김: detach, no_grad",
    "data only": "값만 흐름",
    "not stepped in this turn, or without gradient": "갱신하지 않거나 기울기 없음",
    "generator": "생성기",
    "discriminator": "판별기",
    "discriminators": "판별기들",
    "acoustic": "음향 모델",
    "recognizer": "인식기",
    "network": "신경망",
    "encoder": "인코더",
    "decoder": "디코더",
    "embedding": "임베딩",
    "speaker_embedding": "화자 임베딩",
    "mel": "멜",
    "wave": "파형",
    "duration": "길이",
    "durations": "길이",
    "log_durations": "로그 길이",
    "pitch": "높이",
    "energy": "세기",
    "adversarial": "적대",
    "features": "특징",
    "scores": "판정",
    "periods": "주기 판별기",
    "waves": "파형 판별기",
    "resolutions": "해상도 판별기",
    "jamo": "자모",
    "phonemes": "음소",
    "jamo_ids": "자모",
    "phoneme_ids": "음소",
    "jamo_ctc": "자모 CTC",
    "phoneme_ctc": "음소 CTC",
    "jamo_head": "자모 출력층",
    "phoneme_head": "음소 출력층",
    "feedback": "되먹임",
    "subsampling": "시간 축약",
    "blocks": "블록",
    "upsamples": "업샘플",
    "token_ids": "음소열",
    "speaker_ids": "화자",
    "attention": "어텐션",
    "kl": "KL",
    "stop": "끝 신호",
    "contrastive": "대조",
    "diversity": "다양성",
    "letter_ids": "글자",
    "logits": "점수",
    "ctc": "CTC",
    "listener": "듣는 신경망",
    "quantizer": "양자화기",
    "context": "문맥",
    "target": "양자화된 소리",
    "probabilities": "확률",
    "project_context": "문맥 투영",
    "project_target": "양자화 투영",
    "given_ids": "앞의 토큰",
    "target_ids": "다음 토큰",
    "cross_entropy": "교차 엔트로피",
    "project": "출력층",
    "head": "출력층",
    "conv_in": "입력 합성곱",
    "conv_out": "출력 합성곱",
    "norm_in": "입력 정규화",
    "norm_out": "출력 정규화",
    "adaptor.duration_predictor": "길이 예측기",
    "adaptor.pitch_predictor": "높이 예측기",
    "adaptor.energy_predictor": "세기 예측기",
    "adaptor.pitch_embedding": "높이 임베딩",
    "adaptor.energy_embedding": "세기 임베딩",
}

_ENGLISH = {"frozen": "not stepped in this turn"}


def term(name: str, language: str) -> str:
    """Return how a name is shown: Korean where there is a word for it, in English with its underscores opened.

    Numbers behind a name stay: "blocks 1-4". A list of names is shown name by name.

    >>> term("adaptor.pitch_predictor", "en"), term("blocks 1-4", "ko"), term("adaptor.pitch_predictor", "ko")
    ('pitch predictor', '블록 1-4', '높이 예측기')
    """
    if name in KOREAN:
        return KOREAN[name] if language == "ko" else _ENGLISH.get(name, name).rsplit(".", 1)[-1].replace("_", " ")
    if ", " in name:
        return ", ".join(term(part, language) for part in name.split(", "))
    stem, space, number = name.rpartition(" ")
    if space and number.replace("-", "").isdigit():
        return f"{term(stem, language)} {number}"
    return name.rsplit(".", 1)[-1].replace("_", " ") if "(" not in name else name
