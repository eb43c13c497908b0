package pgwire

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"holdfast/internal/fault"
)

// charsets are the client encodings with one byte per character, by the name that
// PostgreSQL shows (https://www.postgresql.org/docs/15/multibyte.html).
var charsets = map[string]*charmap.Charmap{
	"LATIN1": charmap.ISO8859_1, "LATIN2": charmap.ISO8859_2, "LATIN3": charmap.ISO8859_3, "LATIN4": charmap.ISO8859_4,
	"LATIN5": charmap.ISO8859_9, "LATIN6": charmap.ISO8859_10, "LATIN7": charmap.ISO8859_13, "LATIN8": charmap.ISO8859_14,
	"LATIN9": charmap.ISO8859_15, "LATIN10": charmap.ISO8859_16,
	"ISO_8859_5": charmap.ISO8859_5, "ISO_8859_6": charmap.ISO8859_6, "ISO_8859_7": charmap.ISO8859_7, "ISO_8859_8": charmap.ISO8859_8,
	"WIN866": charmap.CodePage866, "WIN874": charmap.Windows874, "WIN1250": charmap.Windows1250, "WIN1251": charmap.Windows1251,
	"WIN1252": charmap.Windows1252, "WIN1253": charmap.Windows1253, "WIN1254": charmap.Windows1254, "WIN1255": charmap.Windows1255,
	"WIN1256": charmap.Windows1256, "WIN1257": charmap.Windows1257, "WIN1258": charmap.Windows1258,
	"KOI8R": charmap.KOI8R, "KOI8U": charmap.KOI8U,
}

// otherNames are PostgreSQL's other names of encodings, without signs and in
// lower case.
var otherNames = map[string]string{
	"iso88591": "LATIN1", "iso88592": "LATIN2", "iso88593": "LATIN3", "iso88594": "LATIN4", "iso88599": "LATIN5",
	"iso885910": "LATIN6", "iso885913": "LATIN7", "iso885914": "LATIN8", "iso885915": "LATIN9", "iso885916": "LATIN10",
	"alt": "WIN866", "win": "WIN1251", "koi8": "KOI8R", "tcvn": "WIN1258", "vscii": "WIN1258", "abc": "WIN1258",
	"windows866": "WIN866", "windows874": "WIN874", "windows1250": "WIN1250", "windows1251": "WIN1251", "windows1252": "WIN1252", "windows1253": "WIN1253",
	"windows1254": "WIN1254", "windows1255": "WIN1255", "windows1256": "WIN1256", "windows1257": "WIN1257", "windows1258": "WIN1258",
}

// manyBytes are PostgreSQL's encodings that are not taken.
var manyBytes = []string{"big5", "euccn", "eucjp", "eucjis2004", "euckr", "euctw", "gb18030", "gbk", "johab", "muleinternal", "sjis", "shiftjis", "shiftjis2004", "mskanji", "uhc"}

// checkEncoding takes UTF8; SQL_ASCII, whose bytes are held to be UTF-8; and
// what has one byte per character.
func checkEncoding(v string) (string, *fault.Error) {
	plain := strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(v))
	switch plain {
	case "utf8", "unicode":
		return "UTF8", nil
	case "sqlascii":
		return "SQL_ASCII", nil
	}
	if name := otherNames[plain]; name != "" {
		return name, nil
	}
	for name := range charsets {
		if strings.ToLower(strings.ReplaceAll(name, "_", "")) == plain {
			return name, nil
		}
	}
	if slices.Contains(manyBytes, plain) {
		return "", fault.New(fault.CharacterNotInRepertoire, "text in encoding %q is not taken", v).
			WithHint("set client_encoding to UTF8 and convert in the client")
	}
	return "", badValue("client_encoding", v).WithHint("UTF8 is what needs no conversion")
}

// maxConverted bounds a statement or a parameter in another encoding than UTF-8,
// in bytes: as UTF-8 it takes up to three times as much.
const maxConverted = 1 << 20

// converter makes UTF-8 of a client's text. The zero value takes text as it is.
type converter struct {
	name    string
	charset *charmap.Charmap
	text    []byte // the last one
}

// use makes c one of an encoding that checkEncoding has returned.
func (c *converter) use(name string) { c.name, c.charset = name, charsets[name] }

// utf8 returns b in UTF-8, valid until the next call.
func (c *converter) utf8(b []byte) ([]byte, error) {
	if c.charset == nil || ascii(b) {
		return b, nil
	}
	if len(b) > maxConverted {
		return nil, fault.New(fault.LimitExceeded, "text of %d bytes in encoding %q, more than %d", len(b), c.name, maxConverted).
			WithHint("set client_encoding to UTF8 and convert in the client, or use COPY")
	}
	c.text = slices.Grow(c.text[:0], 2*len(b))
	for _, one := range b {
		r := c.charset.DecodeByte(one)
		if r == utf8.RuneError {
			return nil, fault.New(fault.CharacterNotInRepertoire, "character with byte sequence 0x%02x in encoding %q has no equivalent in encoding \"UTF8\"", one, c.name)
		}
		c.text = utf8.AppendRune(c.text, r)
	}
	return c.text, nil
}

// parameter is utf8 for a parameter: one in binary form only has characters where
// its type is text.
func (c *converter) parameter(data []byte, oid uint32, format byte) ([]byte, error) {
	if c.charset == nil || format == 1 && !slices.Contains(textOIDs, oid) {
		return data, nil
	}
	return c.utf8(data)
}

// textOIDs are the types whose binary form is the text: unknown, text, char,
// varchar, bpchar, name, json and xml.
var textOIDs = []uint32{0, 705, 25, 18, 1043, 1042, 19, 114, 142}

// own returns text for the client; what its encoding does not have becomes a
// question mark.
func (c *converter) own(text string) string {
	if c.charset == nil || ascii([]byte(text)) {
		return text
	}
	out := make([]byte, 0, len(text))
	for _, r := range text {
		b, ok := c.charset.EncodeRune(r)
		if !ok {
			b = '?'
		}
		out = append(out, b)
	}
	return string(out)
}

func ascii(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c >= 0x80 }) }

// converted is a copyReader that is handed UTF-8.
type converted struct {
	copyReader
	from *converter
}

// data implements copyReader.
func (c converted) data(b []byte) error {
	b, err := c.from.utf8(b)
	if err != nil {
		return err
	}
	return c.copyReader.data(b)
}
