"""The script of pages whose tables are sorted by a click on a head; a cell may state what it is sorted by."""

from __future__ import annotations

from typing import Final

__all__ = ["SORTING"]

SORTING: Final = """
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const column = button.closest("th").cellIndex, body = button.closest("table").querySelector("tbody");
    const down = button.dataset.down !== "1";
    button.dataset.down = down ? "1" : "0";
    const key = row => row.cells[column].dataset.sort ?? row.cells[column].textContent;
    const compare = (a, b) => {
      const x = key(a), y = key(b), p = Number(x), q = Number(y);
      return x !== "" && y !== "" && !isNaN(p) && !isNaN(q) ? p - q : x.localeCompare(y);
    };
    body.append(...[...body.rows].sort((a, b) => down ? compare(b, a) : compare(a, b)));
  });
}
"""
