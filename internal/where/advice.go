package where

import (
	"cmp"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"holdfast/internal/fault"
)

// unexpected finds, in what the parser says, what it did not expect.
var unexpected = regexp.MustCompile(`unexpected token \w+\("([^"]*)"\)`)

// habits are what people write who know SQL, in lower case, and what they mean.
var habits = map[string]string{
	"=":       `compare with ==, as in src_ip == "192.0.2.7"`,
	"and":     "write and, or, not in lower case",
	"or":      "write and, or, not in lower case",
	"not":     "write and, or, not in lower case",
	"in":      `write it like src_ip in ["192.0.2.7", "192.0.2.8"]`,
	"like":    `write name startsWith "a", name contains "b", or name matches "^a.*b$"`,
	"ilike":   `write lower(name) contains "b"`,
	"is":      "NULL is nil: write name == nil, or name != nil",
	"between": "write seconds >= 5 and seconds <= 6",
	",":       `lists stand in brackets: src_ip in ["192.0.2.7", "192.0.2.8"]`,
	"where":   "leave out where: the condition alone is taken",
	"select":  "leave out all but the condition",
}

// advice tells how to write what cannot be read.
func advice(text, said string) string {
	usual := `write it like src_ip == "192.0.2.7" and seconds > 60`
	switch {
	case strings.Contains(said, "invalid char escape"):
		return `write a backslash in a text twice, as in name matches "a\\.b"`
	case strings.Contains(said, "bad number syntax"):
		return `texts stand in quotes, and times past are written like now() - duration("2h")`
	}
	m := unexpected.FindStringSubmatch(said)
	if m == nil {
		return usual
	}
	first, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(text)), " ")
	switch {
	case first == "select" || first == "where":
		return habits[first]
	case m[1] == ">" && strings.Contains(text, "<>"):
		return "write != for different"
	case strings.Contains(said, "token Number("):
		return `texts stand in quotes: src_ip == "192.0.2.7"`
	}
	return cmp.Or(habits[strings.ToLower(m[1])], usual)
}

// typeNames are the kinds of values, as expr-lang calls them and as we do.
var typeNames = strings.NewReplacer("float64", "number", "int and", "number and", "and int)", "and number)", "string", "text", "time.Time", "time", "time.Duration", "duration",
	"strconv.ParseFloat: parsing ", "", "strconv.ParseInt: parsing ", "")

// mostPattern is how many steps a compiled pattern has at most: each byte of a
// value may be held against all of them.
const mostPattern = 1000

// judgePattern refuses what cannot be a pattern, or would take too long.
func judgePattern(pattern string) error {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return fault.New(fault.InvalidParameterValue, "the pattern %.60q cannot be read: %s", pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: ")).
			WithHint(`patterns are regular expressions; contains, startsWith and endsWith take texts as they are`)
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil || len(prog.Inst) > mostPattern {
		return fault.New(fault.LimitExceeded, "the pattern %.60q is too large", pattern).WithHint("use fewer repetitions and alternatives: it may have %d steps", mostPattern)
	}
	return nil
}

// quoted refuses a column's name in quotes where it would be a text that is
// compared with another one: no row, or each, would match.
func (c *compiler) quoted(b *ast.BinaryNode) error {
	if !comparing(b.Operator) && !slices.Contains([]string{"in", "contains", "startsWith", "endsWith", "matches"}, b.Operator) || names(b) {
		return nil
	}
	for _, side := range []ast.Node{b.Left, b.Right} {
		text, ok := side.(*ast.StringNode)
		if ok && slices.ContainsFunc(c.known, func(k column) bool { return k.name == text.Value }) {
			return fault.New(fault.InvalidParameterValue, "%q is a text here, and no column", text.Value).
				WithHint("write columns without quotes: %s; one that is no word is written like $env[%q]", text.Value, "call id")
		}
	}
	return nil
}
