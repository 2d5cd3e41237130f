-- What the script was asked: one JSON object, which the script describes.
local ask = cjson.decode(ARGV[1])
