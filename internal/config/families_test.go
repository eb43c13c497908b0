package config

import (
	"strings"
	"testing"
)

// TestFamilies reads families, and refuses those that do not say where they are.
func TestFamilies(t *testing.T) {
	c, err := Parse("f", []byte("families:\n  utm5: {url_file: /run/secrets/utm5, backup: /b/utm5.dump}\n  old: {profile: utm5@5.2.1-006, url: \"mysql://u:secret@h/d\"}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if f := c.Families["utm5"]; f.Profile != "utm5" || f.URLFile != "/run/secrets/utm5" || f.Backup != "/b/utm5.dump" || c.Families["old"].Profile != "utm5@5.2.1-006" {
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
	} {
		if _, err := Parse("f", []byte("families:\n  a: "+text+"\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}
