package sqlite

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// affinity is what SQLite does to a value on its way into a column. The rules
// are those of "Determination Of Column Affinity" in SQLite's datatype3.html.
type affinity uint8

const (
	affText    affinity = iota // keeps text as text
	affNumeric                 // turns text that looks like a number into one: NUMERIC and INTEGER
	affReal                    // as numeric, and integers into doubles
	affNone                    // keeps everything as it is bound
)

// affinityOf returns the affinity of a column declared as decl.
func affinityOf(decl string) affinity {
	d := strings.ToUpper(decl)
	has := func(part string) bool { return strings.Contains(d, part) }
	switch {
	case has("INT"):
		return affNumeric
	case has("CHAR"), has("CLOB"), has("TEXT"):
		return affText
	case has("BLOB"), d == "":
		return affNone
	case has("REAL"), has("FLOA"), has("DOUB"):
		return affReal
	default:
		return affNumeric
	}
}

// numberTypes are the SQL types whose columns hold numbers. Their names are
// kept in CREATE TABLE, since SQLite derives the right affinity from them.
var numberTypes = map[string]bool{
	"smallint": true, "int": true, "integer": true, "bigint": true,
	"int2": true, "int4": true, "int8": true,
	"smallserial": true, "serial": true, "bigserial": true,
	"numeric": true, "decimal": true,
	"real": true, "float": true, "float4": true, "float8": true, "double precision": true,
}

// textTypes are the SQL types whose names SQLite reads as text, length included.
var textTypes = map[string]bool{
	"text": true, "varchar": true, "character varying": true, "char": true, "character": true,
}

// declared returns the type to create a column with. Only names known here go
// into a statement, so that a type from outside is never SQL; any other type
// (timestamptz, uuid, jsonb, boolean) becomes TEXT, since SQLite would give
// it numeric affinity and change what looks like a number.
func declared(typ string) string {
	base, args := strings.TrimSpace(strings.ToLower(typ)), ""
	if i := strings.IndexByte(base, '('); i >= 0 {
		base, args = strings.TrimSpace(base[:i]), base[i:]
	}
	if base == "bytea" {
		return "BLOB"
	}
	if !numberTypes[base] && !textTypes[base] {
		return "TEXT"
	}
	if strings.Trim(args, "(0123456789, )") != "" || len(args) > 16 || (args != "" && !strings.HasSuffix(args, ")")) {
		args = ""
	}
	return strings.ToUpper(base) + args
}

// A double holds 15 decimal digits so that every SQLite prints them back;
// with 17 any double can be written and read back.
const (
	exactDigits  = 15
	doubleDigits = 17
	maxExponent  = 300 // well inside a double's range
)

// cell returns what is bound for text in a column of affinity a, filled from
// a column of type typ. Decision 0002 says why: a number goes in as a number
// only where SQLite gives the same number back; anything else goes in as it
// was written, as a blob where text would be turned into another number.
func (a affinity) cell(text, typ string) any {
	switch a {
	case affText:
		return text
	case affNone:
		if typ == "bytea" && strings.HasPrefix(text, `\x`) {
			if b, err := hex.DecodeString(text[2:]); err == nil {
				return b
			}
		}
		return text
	}
	n := scan(text)
	if !n.numeric {
		return text
	}
	digits := exactDigits
	if a == affReal {
		digits = doubleDigits
	}
	switch {
	case !n.plain:
	case n.integer && (a == affNumeric || n.digits <= exactDigits):
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return i
		}
	case !n.integer && n.digits <= digits && n.exponent < maxExponent && n.exponent > -maxExponent:
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
	}
	return []byte(text)
}

// number is what scan found in a text.
type number struct {
	numeric  bool // SQLite's numeric affinity would turn the text into a number
	plain    bool // written the way a number is: no blank, no plus sign, no needless leading zero
	integer  bool // no point and no exponent
	digits   int  // significant digits, zeros at both ends not counted
	exponent int  // roughly the power of ten of the first significant digit
}

// scan reads text as SQLite's own conversion does.
func scan(text string) number {
	const blanks = " \t\n\v\f\r"
	s := strings.Trim(text, blanks)
	n := number{plain: s == text, integer: true}
	if s != "" && (s[0] == '-' || s[0] == '+') {
		n.plain = n.plain && s[0] == '-'
		s = s[1:]
	}
	whole := leadingDigits(s)
	s = s[len(whole):]
	n.plain = n.plain && (len(whole) < 2 || whole[0] != '0')
	fraction := ""
	if s != "" && s[0] == '.' {
		n.integer = false
		fraction = leadingDigits(s[1:])
		s = s[1+len(fraction):]
	}
	if whole == "" && fraction == "" {
		return number{}
	}
	shift := 0
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		n.integer = false
		var ok bool
		if shift, s, ok = power(s[1:]); !ok {
			return number{}
		}
	}
	n.numeric = s == ""
	all := whole + fraction
	lead := strings.TrimLeft(all, "0")
	n.exponent = len(whole) - (len(all) - len(lead)) + shift
	n.digits = len(strings.TrimRight(lead, "0"))
	return n
}

// power reads the digits behind an e, and returns what stands behind them.
func power(s string) (n int, rest string, ok bool) {
	sign := 1
	if s != "" && (s[0] == '-' || s[0] == '+') {
		if s[0] == '-' {
			sign = -1
		}
		s = s[1:]
	}
	digits := leadingDigits(s)
	n, err := strconv.Atoi(digits)
	if err != nil || n > 2*maxExponent {
		n = 2 * maxExponent // beyond any double
	}
	return sign * n, s[len(digits):], digits != ""
}

func leadingDigits(s string) string {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return s[:i]
}
