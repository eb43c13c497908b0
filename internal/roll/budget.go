package roll

import (
	"strings"
	"unicode"
)

// Place is one directory of a budget.
type Place struct {
	Path  string
	Size  Size // 0: no size was given, so nothing rolls by itself
	Exist bool // written with ==: the directory is never created, so that a volume that is not mounted is noticed
}

// Budget is where a tier of a stream is, and how much each directory may take:
// path[(=|==)size]{;path..}.
type Budget []Place

// maxPlaces bounds what one budget may name.
const maxPlaces = 256

const budgetHint = `write path, path=size or path==size, several of them with ";" between, like "/a=10 t;/b=20.5 t"`

// ParseBudget reads path[(=|==)size]{;path..}.
func ParseBudget(text string) (Budget, error) {
	parts := strings.Split(text, ";")
	if len(parts) > maxPlaces {
		return nil, wrong("a budget names %d directories", len(parts)).WithHint("name up to %d", maxPlaces)
	}
	var b Budget
	seen := map[string]bool{}
	for _, part := range parts {
		path, size, sized := strings.Cut(part, "=")
		p := Place{Path: strings.TrimSpace(path)}
		switch {
		case p.Path == "":
			return nil, wrong("budget %q has an empty path", text).WithHint(budgetHint)
		case strings.ContainsFunc(p.Path, unicode.IsControl):
			return nil, wrong("path %q holds a control character", p.Path).WithHint(budgetHint)
		case seen[p.Path]:
			return nil, wrong("budget %q names %q twice", text, p.Path).WithHint("name each directory once")
		}
		seen[p.Path] = true
		if sized {
			size, p.Exist = strings.CutPrefix(size, "=")
			var err error
			if p.Size, err = positive(size); err != nil {
				return nil, err
			}
		}
		b = append(b, p)
	}
	return b, nil
}

// String returns a form that ParseBudget reads.
func (b Budget) String() string {
	var parts []string
	for _, p := range b {
		switch {
		case p.Size == 0:
			parts = append(parts, p.Path)
		case p.Exist:
			parts = append(parts, p.Path+"=="+p.Size.String())
		default:
			parts = append(parts, p.Path+"="+p.Size.String())
		}
	}
	return strings.Join(parts, ";")
}

// Resize returns the size that holds for a directory that had the size now and
// is given the size next. It grows at once. It shrinks by up to a tenth; beyond
// that the change is taken for a slip of the hand and ignored, unless forced.
// Size 0 is none.
func Resize(now, next Size, force bool) (holds Size, ignored bool) {
	if force || next == 0 || next >= now-now/10 {
		return next, false
	}
	return now, true
}
