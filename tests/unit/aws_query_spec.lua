local query = require "appliance.aws.query"

describe("parameters of a Query service", function()
  local function form(params, dialect)
    return (query.form("Do", "2020-01-01", params, dialect):gsub("^Action=Do&Version=2020%-01%-01&?", ""))
  end

  it("are written by name, with lists as members", function()
    assert.same("", form())
    assert.same("", form {})
    assert.same("A=1&B=true&C=x+y%2F%2B", form { A = 1, B = true, C = "x y/+" })
    assert.same("Names.member.1=a&Names.member.2=b", form { Names = { "a", "b" } })
    assert.same("Tags.member.1.Key=k&Tags.member.1.Value=v&Tags.member.2.Key=l",
      form { Tags = { { Key = "k", Value = "v" }, { Key = "l" } } })
    assert.same("Deep.In.member.1=x", form { Deep = { In = { "x" } } })
  end)

  it("have EC2's lists for EC2", function()
    assert.same("Filter.1.Name=n&Filter.1.Value.1=a&Filter.1.Value.2=b", form({ Filter = { { Name = "n", Value = { "a", "b" } } } }, "ec2"))
  end)

  it("say by an empty value that a list is empty", function()
    assert.same("Names=", form { Names = {} })
  end)

  it("have whole numbers without a point", function()
    assert.same("A=10&B=0.5&C=-3", form { A = 10.0, B = 0.5, C = -3 })
  end)

  it("refuse what can't be one", function()
    assert.has_error(function() form { A = print } end, "A: a function can't be a parameter")
    assert.has_error(function() form { A = { x = 1, [2.5] = 2 } } end, "A: it has both names and numbers")
  end)

  it("escape all but AWS's letters", function()
    assert.same("A=%C3%A4-_.~%2A%26%3D", form { A = "ä-_.~*&=" })
  end)
end)
