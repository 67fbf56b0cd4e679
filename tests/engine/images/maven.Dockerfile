# Shaped like maven:3-eclipse-temurin-17: MAVEN_CONFIG and a settings file of its own. Artifacts come from Debian.
FROM debian:bookworm-slim
ENV JAVA_HOME=/opt/java/openjdk MAVEN_HOME=/usr/share/maven MAVEN_CONFIG=/root/.m2
ENV PATH=/opt/java/openjdk/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN mkdir -p /usr/share/man/man1 /opt/java \
 && apt-get update \
 && apt-get install -y --no-install-recommends openjdk-17-jdk-headless maven libmaven-dependency-plugin-java \
    libmaven-shade-plugin-java libmaven-compiler-plugin-java libmaven-jar-plugin-java libmaven-resources-plugin-java \
    libmaven-install-plugin-java libmaven-clean-plugin-java libmaven-deploy-plugin-java libmaven-site-plugin-java libsurefire-java libcommons-lang3-java \
 && rm -rf /var/lib/apt/lists/* \
 && ln -s "$(dirname "$(dirname "$(readlink -f /usr/bin/javac)")")" /opt/java/openjdk \
 && printf '%s\n' '<settings><mirrors><mirror><id>debian</id><mirrorOf>*</mirrorOf><url>file:///usr/share/maven-repo</url></mirror></mirrors></settings>' > /etc/maven/settings.xml
CMD ["mvn"]
