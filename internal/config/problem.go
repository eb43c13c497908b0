package config

import (
	"fmt"
	"sort"
	"strings"
)

// position is a place in the file; the zero position is the file as a whole.
type position struct{ line, column int }

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File    string // "" where no file is at fault
	Line    int    // from 1; 0 where the file as a whole is meant
	Column  int    // from 1, in characters
	Message string
	Hint    string // what was meant, or what to do; may be empty
}

// Error returns file:line:column, the message and the hint in one line.
func (p *Problem) Error() string {
	s := p.Where() + p.Message
	if p.Hint != "" {
		s += " (hint: " + p.Hint + ")"
	}
	return s
}

// Where returns "file:line:column: ", as far as it is known.
func (p *Problem) Where() string {
	switch {
	case p.File == "":
		return ""
	case p.Line == 0:
		return p.File + ": "
	}
	return fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
}

// Problems is everything that is wrong with a configuration; never empty
// where it is an error.
type Problems []*Problem

// Error returns one line per problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted orders the problems as they stand in the file.
func (p Problems) sorted() Problems {
	sort.SliceStable(p, func(i, j int) bool {
		if p[i].Line != p[j].Line {
			return p[i].Line < p[j].Line
		}
		return p[i].Column < p[j].Column
	})
	return p
}

// meant is an error that a value's parser returns: what is wrong, and what
// would be right.
type meant struct{ message, hint string }

func (m *meant) Error() string {
	if m.hint == "" {
		return m.message
	}
	return m.message + " (hint: " + m.hint + ")"
}

// wrong makes a meant; args are formatted into message.
func wrong(hint, message string, args ...any) error {
	return &meant{message: fmt.Sprintf(message, args...), hint: hint}
}

// fromFlag returns err as the Problems of a value that no file holds.
func fromFlag(err error) Problems {
	p := &Problem{Message: err.Error()}
	if m, ok := err.(*meant); ok {
		p.Message, p.Hint = m.message, m.hint
	}
	return Problems{p}
}

// didYouMean returns a hint naming the word of known nearest to got, or all of
// them where none is near.
func didYouMean(got string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	best, distance := "", 3
	for _, k := range known {
		if d := edits(strings.ToLower(got), k); d < distance {
			best, distance = k, d
		}
	}
	if best != "" && distance < len(best) {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "known here: " + strings.Join(known, ", ")
}

// edits counts the single-character changes that turn a into b. Words longer
// than any key count as far away.
func edits(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	prev := make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		diagonal := prev[0]
		prev[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = prev[j+1]
			prev[j+1] = min(cost, prev[j+1]+1, prev[j]+1)
		}
	}
	return prev[len(b)]
}
