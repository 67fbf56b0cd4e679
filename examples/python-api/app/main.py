"""The HTTP side."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, PositiveInt

from app.rates import quote

app = FastAPI(title="rates")


class Parcel(BaseModel):
    zone: str
    weight_grams: PositiveInt


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/quotes")
def quotes(parcel: Parcel) -> dict[str, int]:
    try:
        return {"cents": quote(parcel.zone, parcel.weight_grams)}
    except KeyError:
        raise HTTPException(status_code=404, detail="unknown zone") from None
