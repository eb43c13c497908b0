package archive

import (
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

//go:embed profiles/*.json
var profiles embed.FS

// ready is a family that comes with the program, in the versions of the
// product that made it.
type ready struct {
	Family
	Versions []string  `json:"versions"` // oldest first; the last one is what the plain name means
	Members  []variant `json:"members"`
}

// variant is a table as it was from one version to another, both included.
type variant struct {
	Table
	Since string `json:"since,omitempty"` // the oldest if empty
	Until string `json:"until,omitempty"` // the newest if empty
}

// Profiles returns the names that Profile takes.
func Profiles() []string {
	var all []string
	for _, name := range []string{"kamailio", "utm5"} {
		all = append(all, name)
		r, err := readProfile(name)
		if err != nil {
			continue // TestProfiles reads every one
		}
		for _, v := range r.Versions {
			all = append(all, name+"@"+v)
		}
	}
	return all
}

// Profile returns a ready family: by its name, as its newest version has it, or
// by name@version.
func Profile(name string) (*Family, error) {
	if !slices.Contains(Profiles(), name) {
		return nil, fmt.Errorf("profile %q is not known: %s", name, strings.Join(Profiles(), ", "))
	}
	base, version, _ := strings.Cut(name, "@")
	r, err := readProfile(base)
	if err != nil {
		return nil, err
	}
	newest := max(len(r.Versions)-1, 0)
	at := newest
	if version != "" {
		at = slices.Index(r.Versions, version)
	}
	f := r.Family
	for _, m := range r.Members {
		from, to := 0, newest
		if m.Since != "" {
			from = slices.Index(r.Versions, m.Since)
		}
		if m.Until != "" {
			to = slices.Index(r.Versions, m.Until)
		}
		if at >= from && at <= to {
			f.Tables = append(f.Tables, m.Table)
		}
	}
	return &f, f.complete()
}

func readProfile(base string) (*ready, error) {
	text, err := profiles.ReadFile("profiles/" + base + ".json")
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	var r ready
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("profile %q: %w", base, err)
	}
	return &r, nil
}

// Load returns a ready family, or one of a file, whose name ends in .json.
func Load(name string) (*Family, error) {
	if !strings.HasSuffix(name, ".json") {
		return Profile(name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	f, err := Parse(file)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", name, err)
	}
	return f, nil
}
