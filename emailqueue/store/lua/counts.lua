-- Return the figures.
-- Result  JSON: see figures.lua
-- Invariant  it writes nothing.
-- needs: figures
return cjson.encode(figures())
