local secrets = require "appliance.secrets"

describe("secrets", function()
  it("are known by their names", function()
    for _, name in ipairs {
      "javax.jdo.option.ConnectionPassword", "spark.authenticate.secret", "fs.s3a.secret.key", "fs.s3a.access.key",
      "spark.hadoop.fs.s3a.bucket.logs.session.token", "fs.s3a.encryption.key", "spark.ssl.keyPassword", "AWS_SECRET_ACCESS_KEY",
      "AWS_ACCESS_KEY_ID", "SPARK_AUTH_SECRET", "fs.s3n.awsAccessKeyId",
    } do
      assert.is_true(secrets.is_secret(name), name)
    end
  end)

  it("are not what only speaks about them", function()
    for _, name in ipairs {
      "fs.s3a.aws.credentials.provider", "spark.executor.memory", "hadoop.security.credential.provider.path", "spark.redaction.regex",
      "fs.s3a.endpoint", "hive.metastore.uris", "WORKER_PASSWORD_FILE", "CREDENTIALS_BROKER", "spark.kryo.registrationRequired",
    } do
      assert.is_false(secrets.is_secret(name), name)
    end
  end)

  it("are taken out of URLs", function()
    assert.equal("jdbc:postgresql://hive:(redacted)@db:5432/meta", secrets.redact_value "jdbc:postgresql://hive:pa:ss@db:5432/meta")
    assert.equal("jdbc:mysql://db/meta?user=a&password=(redacted)&x=y", secrets.redact_value "jdbc:mysql://db/meta?user=a&password=zz&x=y")
    assert.equal("spark://10.0.0.1:7077,10.0.0.2:7077", secrets.redact_value "spark://10.0.0.1:7077,10.0.0.2:7077")
  end)

  it("are taken out of command lines", function()
    assert.same(
      { "java", "-Dspark.authenticate.secret=(redacted)", "--conf", "spark.ssl.keyPassword=(redacted)", "--password", "(redacted)",
        "-Dx=y" },
      secrets.redact_command { "java", "-Dspark.authenticate.secret=a", "--conf", "spark.ssl.keyPassword=b", "--password", "c", "-Dx=y" })
  end)
end)
