import pytest

from common.model.service import PortConfig
from common.spec.gotemplate import Budget, Template, TemplateError, render

CONTEXT = {
    "Service": {"ID": "s1", "Name": "web", "Labels": {"com.docker.stack.namespace": "shop"}},
    "Task": {"ID": "t1", "Slot": 3},
    "Node": {"ID": "n1", "Hostname": "h-1", "Platform": {"OS": "linux", "Architecture": "x86_64"}},
    "List": ["b", "a"],
    "Empty": [],
    "Zero": 0,
    "Yes": True,
    "Ratio": 0.5,
    "Nothing": None,
}


# What Go's text/template (with the functions of docker's CLI) prints for the same data.
@pytest.mark.parametrize(
    ("template", "printed"),
    [
        ("plain", "plain"),
        ("{{.Service.Name}}.{{.Task.Slot}}", "web.3"),
        ("{{ .Node.Platform.OS }}", "linux"),
        ('{{index .Service.Labels "com.docker.stack.namespace"}}', "shop"),
        ('{{index .Service.Labels "missing"}}', ""),
        ("{{index .List 1}}", "a"),
        ("{{len .List}} {{len .Service.Name}}", "2 3"),
        ("{{json .List}}", '["b","a"]'),
        ("{{.Service.Labels | json}}", '{"com.docker.stack.namespace":"shop"}'),
        ("{{json .Nothing}} {{json .Zero}}", "null 0"),
        ('{{join .List ", "}}', "b, a"),
        ('{{index (split .Node.Hostname "-") 1}}', "1"),
        ("{{upper .Service.Name}} {{lower `ABC`}} {{title `two words`}}", "WEB abc Two Words"),
        ("{{truncate .Service.ID 1}}|{{truncate .Service.ID 9}}", "s|s1"),
        ('{{pad .Service.Name 1 2}}|{{pad "" 1 1}}', " web  |"),
        ("{{println .Task.Slot .Service.Name}}", "3 web\n"),
        ('{{printf "%s-%03d %q %v %.2f%%" .Service.Name .Task.Slot "x" .List .Ratio}}', 'web-003 "x" [b a] 0.50%'),
        ("{{if .Zero}}a{{else if .Empty}}b{{else}}c{{end}}", "c"),
        ("{{if and .Yes .Task.Slot}}{{or .Zero .Nothing .Service.ID}}{{end}}", "s1"),
        ("{{if not .Empty}}none{{end}}", "none"),
        ("{{if or .Yes .No.Such}}short circuit{{end}}", "short circuit"),
        ('{{eq .Service.Name "db" "web"}} {{ne .Task.Slot 3}} {{lt 1 2}} {{ge 1 2}}', "true false true false"),
        ("{{range .List}}[{{.}}]{{end}}", "[b][a]"),
        ("{{range .Empty}}x{{else}}empty{{end}}", "empty"),
        ("{{range $i, $v := .List}}{{$i}}:{{$v}}{{if $i}}.{{end}} {{end}}", "0:b 1:a. "),
        ("{{range $k, $v := .Service.Labels}}{{$k}}={{$v}}{{end}}", "com.docker.stack.namespace=shop"),
        ("{{range .List}}{{$.Task.ID}}{{.}} {{end}}", "t1b t1a "),
        ("{{with .Node}}{{.Hostname}}{{end}}{{with .Nothing}}x{{else}}y{{end}}", "h-1y"),
        ("{{$x := 1}}{{if .Yes}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if .Yes}}{{$x := 2}}{{end}}{{$x}}", "1"),
        ("{{(index .List 0) | upper}} {{($).Task.ID}}", "B t1"),
        ("a {{- .Task.Slot -}} b", "a3b"),
        ("a{{/* a }} comment */}}b {{- /* c */ -}} c", "abc"),
        (r'{{"quoted \"}}\" \n"}}', 'quoted "}}" \n'),
        ("{{.Nothing}} {{.Yes}} {{.Ratio}} {{.List}} {{.Service.Labels}}",
         "<no value> true 0.5 [b a] map[com.docker.stack.namespace:shop]"),
        ("{{slice .Service.Name 1}} {{slice .List 0 1}}", "eb [b]"),
    ],
)  # fmt: skip
def test_prints_what_go_prints(template, printed):
    assert Template(template).render(CONTEXT) == printed


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{.Service.Nmae}}", "map has no entry for key 'Nmae'"),
        ("{{.Nothing.Name}}", "nil has no field Name"),
        ("{{.Task.Slot.X}}", "can't evaluate field X in 3"),
        ("{{nosuch .Task}}", "function 'nosuch' not defined"),
        ("a\n{{.Task", "line 2: an action is not closed"),
        ("{{.Task ^}}", "unexpected '^'"),
        ("{{if .Yes}}x", "has no {{end}}"),
        ("{{end}}", "nothing is open"),
        ("{{}}", "missing value for command"),
        ("{{.Task.ID 3}}", "only a function can be given arguments"),
        ("{{index .List 5}}", "error calling index: index out of range: 5"),
        ("{{len 3}}", "error calling len: 3 has no length"),
        ("{{range .Yes}}{{end}}", "range can't iterate over true"),
        ("{{$x}}", "undefined variable '$x'"),
        ("{{truncate .List}}", "error calling truncate"),
        ('{{lt "a" 1}}', "incompatible types"),
        ("{{(.Task}}", "unexpected the action's end"),
    ],
)
def test_errors_say_where_and_what(template, complaint):
    with pytest.raises(TemplateError, match="template") as caught:
        Template(template).render(CONTEXT)
    assert complaint in caught.value.message


def test_a_struct_is_read_by_its_docker_names():
    port = PortConfig(published_port=80)
    assert render("{{.PublishedPort}}/{{.Protocol}}", port) == "80/tcp"
    with pytest.raises(TemplateError, match="can't evaluate field Port in type PortConfig"):
        render("{{.Port}}", port)


def test_a_lenient_template_prints_missing_keys_as_go_does():
    assert Template("{{.X}} {{.X.Y}} {{if .X}}a{{else}}b{{end}}", strict=False).render({}) == (
        "<no value> <no value> b"
    )


def test_callers_add_functions():
    files = {"cert": "PEM"}
    assert Template('{{secret "cert"}}', functions={"secret": files.__getitem__}).render({}) == "PEM"


def test_fields_are_the_columns_of_a_table():
    template = Template("table {{.ID}}\t{{upper .Name}}\t{{if .Ports}}{{(index .Ports 0).X}}{{end}}{{$.Mode}}")
    assert template.fields == (("ID",), ("Name",), ("Ports",), ("Ports",), ("Mode",))


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{range 1000000000000}}{{end}}", "steps"),
        ("{{range 900}}{{range 900}}{{end}}{{end}}", "steps"),
        ("{{range 900}}" + "x" * 9000 + "{{end}}", "characters"),
        ('{{printf "%2000000000d" 1}}', "characters"),
        ('{{printf "%.2000000000f" 1.5}}', "characters"),
        ('{{pad "x" 99999999999999 0}}', "characters"),
        ('{{pad "x" 0 2000000000}}', "characters"),
        ("{{$a := `0123456789`}}" + "{{$a = print $a $a}}" * 60, "characters"),
        ("{{$a := `0123456789`}}" + "{{$a = println $a $a}}" * 60, "characters"),
        ("{{$a := `0123456789`}}" + '{{$a = printf "%s%s" $a $a}}' * 60, "characters"),
        ("{{$a := `0123456789`}}" + "{{$a = join (split $a ``) $a}}" * 9, "characters"),
        ('{{$a := `"`}}' + "{{$a = json $a}}" * 60, "characters"),
    ],
)
def test_a_template_that_would_take_too_much_is_given_up(template: str, complaint: str) -> None:
    """Whoever may make a service or a config writes templates, and managers and workers carry them out."""
    with pytest.raises(TemplateError, match=complaint):
        Template(template).render({}, Budget(steps=10_000, characters=100_000))


@pytest.mark.parametrize(
    "template", ["{{.}}" * 10_000, "{{print" + " 1" * 30_000 + "}}", "{{if 0}}" + "{{.}}" * 9000 + "{{end}}"]
)
def test_a_template_that_would_take_long_to_read_is_given_up(template: str) -> None:
    with pytest.raises(TemplateError, match="more than 10000 steps"):
        render(template, {}, Budget(steps=10_000, characters=100_000))


def test_a_template_that_is_kept_is_paid_for_each_time() -> None:
    template, budget = "{{if 0}}" + "{{.}}" * 30 + "{{end}}", Budget(steps=250, characters=1000)
    assert render(template, {}, budget) == ""
    assert render(template, {}, budget) == ""
    with pytest.raises(TemplateError, match="more than 250 steps"):
        render(template, {}, budget)


def test_a_budget_is_for_all_that_is_rendered_with_it() -> None:
    budget = Budget(steps=100, characters=10)
    assert Template("abcd{{1}}").render({}, budget) == "abcd1"
    assert Template("abcd{{1}}").render({}, budget) == "abcd1"
    with pytest.raises(TemplateError, match="more than 10 characters"):
        Template("a").render({}, budget)


@pytest.mark.parametrize(
    "template",
    [
        "{{if 1}}" * 5000 + "{{end}}" * 5000,
        "{{if 0}}" + "{{else if 0}}" * 5000 + "{{end}}",
        "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}",
    ],
)
def test_a_template_that_nests_too_deep_is_refused(template: str) -> None:
    with pytest.raises(TemplateError, match="levels deep"):
        Template(template)


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{{" + "9" * 5000 + "}}", "not a number"),
        ("{{9223372036854775808}}", "not a number"),
        (r'{{"\x"}}', "not a string"),
        (r'{{"\d"}}', "not a string"),
        (r'{{"\ud800"}}', "not a string"),
        (r'{{"\U00110000"}}', "not a string"),
        ('{{"a\rb"}}', "not a string"),
        ('{{"a\0b"}}', "not a string"),
        ('{{printf "%c" 9223372036854775807}}', "error calling printf"),
    ],
)
def test_what_go_does_not_take_is_an_error_here_too(template: str, complaint: str) -> None:
    with pytest.raises(TemplateError, match=complaint):
        Template(template).render({})


def test_go_s_own_escapes_are_read() -> None:
    assert render(r'{{"\a\t\\\"\x41\101\u00e4\U0001F600"}}', {}) == '\a\t\\"AAä😀'


def test_lines_are_counted_over_text_actions_and_comments() -> None:
    with pytest.raises(TemplateError, match="line 6"):
        Template("a\n{{1}}\n{{/* \n */}}\n{{2\n}}{{nope}}")
