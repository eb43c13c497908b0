package config

import (
	"strings"
	"testing"
	"time"
)

// TestFamilies reads families, and refuses those that do not say where they are.
func TestFamilies(t *testing.T) {
	c, err := Parse("f", []byte("families:\n  utm5: {url_file: /run/secrets/utm5, backup: /b/utm5.dump}\n  old: {profile: utm5@5.2.1-006, url: \"mysql://u:secret@h/d\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if f := c.Families["utm5"]; f.Profile != "utm5" || f.URLFile != "/run/secrets/utm5" || f.Backup.Proof().File != "/b/utm5.dump" || c.Families["old"].Profile != "utm5@5.2.1-006" {
		t.Errorf("got %+v", f)
	}
	for _, v := range c.Values() {
		if strings.Contains(v.Value, "secret@") {
			t.Errorf("%s shows a password: %s", v.Key, v.Value)
		}
	}
	if c.SecretFiles()["families.utm5.url_file"] == "" {
		t.Error("its url_file is not among the files with secrets")
	}
	for text, want := range map[string]string{
		"":                                     "does not say where",
		"{profile: utm5}":                      "does not say where",
		"{url: \"mysql://h/d\", url_file: /x}": "both a url and a url_file",
		"{url: \"oracle://h/d\"}":              "none of postgres",
		"{url_file: /x, uri: y}":               "uri",
		"{url_file: /x, late: reopen}":         "not known",

		"{url_file: /x, archives: {engine: rocksdb}}":           "engine \"rocksdb\" of archives is not known",
		"{url_file: /x, archives: {compress: zip}}":             "compress \"zip\"",
		"{url_file: /x, archives: {engine: aria}, late: route}": "in transactions",
	} {
		if _, err := Parse("f", []byte("families:\n  a: "+text+"\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// TestClosings reads families that a server closes by itself, prints them, and
// refuses what could not be done.
func TestClosings(t *testing.T) {
	text := `families:
  utm5: {url: "sqlite:/x", backup: {command: "/bin/check utm5", timeout: 2m}, max_rows: 5000000, max_bytes: 20 GB, late: route, archives: {engine: innodb, compress: page}}
  old: {profile: utm5@5.2.1-006, url: "sqlite:/y", no_backup: true}
schedule: [{cron: "10 3 1 * *", run: "archive run utm5 --apply"}, 'cron="1 2 * * *" run="archive run old"']
`
	c, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	f := c.Families["utm5"]
	if p := f.Backup.Proof(); len(p.Command) != 2 || p.Timeout != 2*time.Minute || f.MaxRows != 5_000_000 || f.MaxBytes != 20<<30 || f.Check != defaultCheck {
		t.Errorf("got %+v", f)
	}
	if all := c.Closings("utm5"); len(all) != 1 || all[0].Cron.String() != "10 3 1 * *" || len(c.Closings("old")) != 1 {
		t.Errorf("got %v", all)
	}
	var printed strings.Builder
	if err := c.Print(&printed); err != nil {
		t.Fatal(err)
	}
	again, err := Parse("printed", []byte(printed.String()))
	if err != nil {
		t.Fatalf("what is printed is not read: %v", err)
	}
	if got := again.Families["utm5"]; *got != *f || len(again.Closings("old")) != 1 {
		t.Errorf("got %+v, want %+v", got, f)
	}
	for text, want := range map[string]string{
		`families: {a: {url: "sqlite:/x", max_rows: 5}}`:                                                     "nothing shows a backup",
		`families: {a: {url: "sqlite:/x", no_backup: true, backup: /b}}`:                                     "there is none",
		`families: {a: {url: "sqlite:/x", backup: {timeout: 1m}}}`:                                           "neither a file nor a command",
		`families: {a: {url: "sqlite:/x", backup: {command: "check it"}}}`:                                   "absolute path",
		`families: {a: {url: "sqlite:/x", check: 1m}}`:                                                       "nothing to look at",
		`families: {a: {url: "sqlite:/x"}}` + "\n" + `schedule: [{cron: "1 2 * * *", run: "archive run a"}]`: "nothing shows a backup",
		`schedule: [{cron: "1 2 * * *", run: "archive run a"}]`:                                              `no family "a"`,
		`schedule: [{cron: "1 2 * * *", run: "archive drop a"}]`:                                             "only run can",
		`schedule: [{cron: "1 2 * * *", run: "archive run a --until now"}]`:                                  "not for a schedule",
		`schedule: [{cron: "1 2 * *", run: "archive run a"}]`:                                                "5 fields",
	} {
		if _, err := Parse("f", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
