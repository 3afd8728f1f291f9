"""Readable text for the catalogue of Complete Journey, which is written in a cash register's shorthand.

Choices: "FRZN SS PREMIUM ENTREES/DNRS/N" becomes "Frozen single serve premium entrees, dinners", because both shoppers
and the text encoder read words. The shorthand behind most purchases is spelled out; rare rest stays as it is. The
source cuts texts after 30 letters: a parenthesis left open is dropped, common cut words are completed.

Knows nothing of tables.
"""

import re

_CUT_AFTER = 30
_WHOLE = {
    "BEERALEMALT LIQUORS": "Beer, ale and malt liquors",
    "CHARITABLE CONT": "Charity",
    "CNTRL/STORE SUP": "Store supplies",
    "DRUG GM": "Drugstore and household",
    "GM MERCH EXP": "General merchandise",
    "MEAT-PCKGD": "Packaged meat",
    "PLSTC CTLRYTBLCLTHSTTHPKSST": "Plastic cutlery, tablecloths, toothpicks",
    "PROD-WHS SALES": "Produce warehouse",
    "SEAFOOD-PCKGD": "Packaged seafood",
    "SOFT DRINKS 12/18&15PK CAN CAR": "Soft drinks, cans, 12 to 18 pack",
    "SOLID/STK DEODORANTS": "Stick deodorants",
}
_SHORTHAND = """
acc=accessories ba=bags bbq=barbecue bev=beverage bg=bags bkd=baked bn=beans br=bread brd=breaded brkfst=breakfast
btl=bottle btls=bottles btr=butter carb=carbonated catfd=cat-food checklane=checkout chick=chicken chix=chicken
choc=chocolate chococlate=chocolate chocol=chocolate chocola=chocolate chp=chop ckys=cookies cleane=cleaner
cleang=cleaning clu= cnd=canned cndy=candy cntrl=control conc=concentrate containr=containers cooki=cookies
crbntd=carbonated crkr=crackers crmd=creamed crystl=crystal dan=danish decaffinated=decaffeinated dishwash=dishwasher
dl=deli dnr=dinner dnrs=dinners dogfd=dog-food dps=dips drnk=drink drnking=drinking drnkng=drinking drnks=drinks
drp=drops drsng=dressing dsh=dishes eng=english et= etc= ex= exce= excp= fd=food fds=food fem=feminine
flav=flavored flvr=flavored flvrd=flavored frd=fried fre=fresh frz=frozen frzn=frozen fs= gds=goods
gm=general-merchandise gr= grnd=ground handke=handkerchiefs hbc=health-and-beauty hygn=hygiene incl= instore=in-store
iqf=individually-frozen iws=individually-wrapped jce=juice ju=juice juic=juice lif= linaments=liniments lozng=lozenges
mach=machine marin=marinade marinad=marinade may=mayonnaise mfg=manufacturer misc=assorted miscellaneous=assorted
mixs=mixes mlk=milk mlt=multi mneral=mineral mnr=mineral mnrl=mineral mustar=mustard mw=microwave mx=mix mxs=mixes
oj=orange-juice ov= ove= pac=pack pc=piece pckgd=packaged pickld=pickled pickls=pickles pk=pack pkg=packaged
pkgd=packaged pkld=pickled plstc=plastic pnch=punch pnt=peanut porton=portions prem=premium prep=prepared
prepack=prepacked preportnd=portioned prod=products protien=protein prpck=prepacked pwdr=powder pwdrs=powders
refig=refrigerated refigerated=refrigerated refrgratd=refrigerated refrig=refrigerated rts=ready-to-serve rw= sal=salad
sald=salad sandwic=sandwiches saucessalsapicantee=sauces-and-salsa saus=sausage seafd=seafood sft=soft sgl=single
sherbts=sherbets shldr=shoulder shlfsh=shellfish slc=slices snacke=snack sndwch=sandwich sngl=single snks=snacks
spec=specialty specilaty=specialty sply=supplies sprd=spreads srv=serve ss=single-serve stk=steak sup=super
supp=supplements suppplies=supplies sv=serve sw=sweet swe=sweetener sweetners=sweeteners swt=sweet syrp=syrup
tiss=tissues tort=tortilla trsh=trash tv=TV vac=vacuum veg=vegetable vegs=vegetables vend=vending wat=water wate=water
whl=whole whlsm=wholesome worchester=worcestershire wra=wraps wt=weight wtr=water xpctrnt=expectorant
"""
_TIDY = (
    (r"\s-|-\s|[/,;]", ", "),
    (r"\b(non|multi|semi|anti|x)-(?=\w)", r"\1_"),
    (r"[-.]+(?!\d)", " "),
    (r"&", " and "),
    (r"(?<=\d)(?=pack|piece|in\b)", " "),
    (r"\s*([(:])\s*", r"\1"),
    (r":", ": "),
    (r"(?<=\w)\(", " ("),
    (r"\s+", " "),
    (r"(?:\s*,)+", ","),
    (r"_", "-"),
    (r":\s*,", ":"),
)
"""Patterns and what takes their place, in order; "_" holds the place of a hyphen that stays."""
_UNITS = {
    "ct": "count",
    "dz": "dozen",
    "ea": "each",
    "ga": "gal",
    "l": "L",
    "ld": "loads",
    "lds": "loads",
    "pk": "pack",
}
_VAGUE = """
adult and assorted better blends choice cooked cups dry economy enhanced flavored for fresh garden included kits lean
links loave mainstream meat natural other pack patties pints plain plus premium primal raw red regular ribs rolls select
single smoked specialty standard super traditional value variety white you
"""


def readable(text: str) -> str:
    """A department, category or product type in words: "FRUIT - SHELF STABLE" → "Fruit, shelf stable"."""
    if text in _WHOLE:
        return _WHOLE[text]
    shorthand = dict(pair.split("=") for pair in _SHORTHAND.split())
    words = re.sub(r"\([^)]*$|\(BULK&BAG\)", "", text).lower()
    words = re.sub(r"\bw/", "with ", words)
    words = re.sub(r"[a-z]+", lambda word: shorthand.get(word[0], word[0]).replace("-", " "), words)
    for pattern, replacement in _TIDY:
        words = re.sub(pattern, replacement, words)
    if len(text) >= _CUT_AFTER:
        words = re.sub(r"[ ,]+[a-z]$", "", words)
    words = words.strip(" ,:")
    return words[:1].upper() + words[1:]


def readable_size(text: str) -> str | None:
    """A package size in words: "N   14 OZ" → "14 oz"; None when only a stock number or a unit is there."""
    # Some sizes begin with a letter or a stock number of five or six digits.
    size = re.sub(r"^(?:[A-Z]\s+(?=[\d.])|\d{6}\s*(?=\d|\s)|\d{5}\s+(?=\d))", "", text).strip().lower()
    if not re.search(r"\d|[a-z]{4}", size):
        return None
    size = re.sub(r"\s*\([^)]*$|^[^(]*\)", "", size)
    size = re.sub(r"[a-z]+", lambda unit: _UNITS.get(unit[0], unit[0]), size)
    return re.sub(r"\s+", " ", size)


def name_of(department: str, category: str | None, product_type: str | None) -> str:
    """What to call a product without its size: its type, with the category before vague ones such as "Premium"."""
    name = product_type or category or f"{department}, other"
    is_vague = all(word in _VAGUE.split() for word in re.findall(r"[a-z]+", name.lower()))
    if is_vague and category and category != name:
        return f"{category}: {name[:1].lower()}{name[1:]}"
    return name
