-- Return the figures.
-- Result  JSON: see parts/figures.lua
-- Invariant  it writes nothing.
-- needs: figures
return cjson.encode(figures.read())
