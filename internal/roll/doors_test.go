package roll

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdfast/internal/fault"
)

// TestDoors runs testdata/doors/*.txt by the planner alone. TestRollDoors in
// test/e2e runs the same scripts through the doors of the built binary, where a
// file is a segment with rows of about that size, and holds that as much is left.
// So what comes out is told in brief: whether all holds, and what is left. What
// these scripts have besides:
//
//	mark NAME         a moment; {NAME} in a message is its time
//	seal              what is written to is sealed
//	undo              the last roll is taken back
//	{percent SIZE}    the percentage of all volumes that is a size
//	{newest N STORE}  the size of the newest N files of a store, and a byte
//
// A schedule starts the server anew, which seals what is written to.
func TestDoors(t *testing.T) {
	files, err := filepath.Glob("testdata/doors/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("found the scripts %q, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			(&script{t: t, brief: &brief{now: now, marks: map[string]string{}}}).whole(file)
		})
	}
}

// brief is what a script has besides when it is one for doors.
type brief struct {
	now    time.Time
	marks  map[string]string
	before []Store // of the last roll
}

// run does what only these scripts have, and puts what braces stand for into
// rest.
func (b *brief) run(s *script, verb string, rest *string) (out []string, done bool) {
	switch verb {
	case "mark":
		b.marks[*rest] = b.now.Add(time.Minute).Format(time.RFC3339)
		b.now = b.now.Add(2 * time.Minute)
		return nil, true
	case "seal":
		b.seal(s)
		return nil, true
	case "undo":
		s.st.Stores = b.before
		return b.left(s), true
	case "schedule":
		b.seal(s)
	}
	for {
		before, after, found := strings.Cut(*rest, "{")
		if !found {
			return nil, false
		}
		name, after, _ := strings.Cut(after, "}")
		*rest = before + b.value(s, name) + after
	}
}

// value returns what stands in braces.
func (b *brief) value(s *script, text string) string {
	words := strings.Fields(text)
	switch words[0] {
	case "percent":
		total := int64(0)
		for _, v := range s.st.Volumes {
			total += v.Total
		}
		return fmt.Sprintf("%.9f", 100*float64(s.size(words[1]))/float64(total))
	case "newest":
		var n int
		_, err := fmt.Sscan(words[1], &n)
		s.fail(err)
		sum, files := int64(1), s.store(words[2]).Files
		for _, f := range files[len(files)-n:] {
			sum += f.Bytes
		}
		return fmt.Sprint(sum, "B")
	}
	at, known := b.marks[text]
	if !known {
		s.t.Fatalf("line %d: {%s} is not known", s.line, text)
	}
	return at
}

func (b *brief) seal(s *script) {
	for i := range s.st.Stores {
		for n := range s.st.Stores[i].Files {
			if f := &s.st.Stores[i].Files[n]; !f.Sealed {
				f.Sealed, f.FileTime = true, b.now.UnixMicro()
			}
		}
	}
}

// make plans, carries it out, and tells of it in brief.
func (b *brief) make(s *script, r Rule) []string {
	p, err := Make(&s.st, r)
	if err != nil {
		return []string{"refused: " + fault.Of(err).Message}
	}
	b.before = slices.Clone(s.st.Stores)
	for i := range b.before {
		b.before[i].Files = slices.Clone(b.before[i].Files)
	}
	s.apply(p)
	out := []string{"met"}
	if !p.Met {
		out[0] = "not met"
	}
	return append(out, b.left(s)...)
}

// left tells which files there are, those without rows left out.
func (b *brief) left(s *script) (out []string) {
	for i := range s.st.Stores {
		var all []string
		for _, f := range s.st.Stores[i].Files {
			if f.FirstSeq != 0 {
				all = append(all, fmt.Sprintf("%d %s", f.Number, f.Tier))
			}
		}
		out = append(out, strings.TrimRight(s.st.Stores[i].Name()+": "+strings.Join(all, ", "), " "))
	}
	return out
}
